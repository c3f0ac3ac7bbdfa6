// ./setup as docs/without-aws.md shows it, in a bare Debian, with a real Postgres and a real gateway. The files
// setup-*.test.ts beside this one have the rest of it.
import { cp, readFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { type DebianHost, needsDebian, passwordsIn, readyHost, unpacked } from "../helpers/debian.ts";
import { blocksOf } from "../helpers/pages.ts";

/** All files in /etc and /opt, with their content, modes and owners. */
const filesOf = async (host: DebianHost) =>
  (await host.run("find /etc /opt -xdev -type f ! -name node -exec stat -c '%n %a %U' {} + -exec md5sum {} + | sort"))
    .output;

describe("./setup", needsDebian, () => {
  it("leads to true numbers and a counted delivery by two commands; again, it changes nothing, and shows no secret", async () => {
    const { host, sql } = await readyHost({ stage: "staging", token: "t0ken", timezone: "Asia/Tokyo" });
    // Its times have no zone: in another zone than this, no row is old.
    await sql.unsafe("alter table orders alter created_at type timestamp using created_at at time zone 'Asia/Tokyo'");
    const look = await host.run("./setup look", "veza_app\n");
    expect(look.output).toMatch(/^[!✓] stuck_orders +4, /m);
    expect(look.exitCode).toBe(0);
    expect(await host.text("etc/veza-ledger-metrics.env")).toBe("");
    // What a shell has for another Postgres is of no use here.
    const first = await host.run("PGSERVICE=elsewhere ./setup", "admin\n");
    expect([first.exitCode, first.output.match(/✗.*/g)], first.output).toEqual([0, null]);
    expect(first.output).toContain('"message":"tick","stuck_orders":4');
    expect(first.output).toContain("Recorded. It is on the gateway.");
    for (const file of ["yml", "env"]) expect(await host.mode(`etc/veza-ledger-metrics.${file}`)).toBe(0o600);
    const before = [await filesOf(host), await passwordsIn(sql)];
    const second = await host.run("./setup", "admin\n");
    expect(second.exitCode, second.output).toBe(0);
    expect([await filesOf(host), await passwordsIn(sql)]).toEqual(before);

    const settings = await host.text("etc/veza-ledger-metrics.env");
    const [password, secret] = [/veza_ledger:(\w+)@/, /(whsec_[^']+)/].map(
      (pattern) => pattern.exec(settings)?.[1] ?? "",
    );
    const shown = `${await host.text("run/fake/args")}${first.output}${second.output}`;
    expect(shown.length).toBeGreaterThan(4000);
    for (const text of [password, secret, "t0ken", ":admin@"]) expect(shown).not.toContain(text);
  });

  it("runs each line that its pages show, as it is shown, and the last takes all of it away", async () => {
    const pages = ["without-aws", "drill", "servers-in-use", "upgrade", "removal"].map((name) => `docs/${name}.md`);
    const blocks = await Promise.all(pages.map((page) => blocksOf(page, "sh")));
    const lines = blocks.flat().flatMap((block) => block.replaceAll("\\\n", "").trimEnd().split("\n"));
    // Those of a clone and of AWS, one for the tables' owner, and one that asks a running Alertmanager.
    const elsewhere = /^(npm|git|aws|deploy\/aws\.sh|psql -v schema=public|amtool --alertmanager\.url)\b/;
    const shown = lines.filter((line) => !elsewhere.test(line));
    const { host, sql } = await readyHost();
    await host.run("rm -r /opt/veza*", "", "/opt");
    const archive = `${path.basename(unpacked)}-linux-x64.tar.gz`;
    for (const name of [archive, `${archive}.sha256`]) await cp(`dist/${name}`, path.join(host.root, "root", name));
    await host.write("etc/prometheus/alertmanager.yml", await readFile("config/alertmanager/alertmanager.yml", "utf8"));
    const typed: Record<string, string> = {
      "./setup look": "veza_app\n",
      "./setup": "admin\n",
      "./setup drill": "\n",
      "./setup remove": "yes\nyes\nadmin\nyes\n",
    };
    let folder = "/root";
    for (const line of shown) {
      const program = host.start(line.replace("./setup drill", "exec ./setup drill"), typed[line], folder);
      const isDrill = line === "./setup drill"; // Its 2 minutes are cut short by Ctrl-C.
      if (isDrill) {
        await program.printed(/wait for 2 minutes/);
        process.kill(-Number(program.child.pid), "SIGINT");
      }
      const { exitCode, output } = await program.exited;
      expect([line, exitCode], output).toEqual([line, isDrill ? 1 : 0]);
      if (line.includes("&& cd /opt/")) folder = unpacked;
    }
    expect(shown.at(-1)).toBe("./setup remove");
    expect(shown.length).toBeGreaterThan(10);
    expect(await sql`select from pg_roles where rolname ~ '^veza_ledger'`).toHaveLength(0);
  });

  it("says what is wrong with its words, and what it does not run without", async () => {
    const { host } = await readyHost();
    for (const [line, says] of [
      ["./setup nosuch", "✗ There is no command and no file nosuch.\nusage: "],
      ["./setup --force", "✗ There is no option --force.\nusage: "],
      ["./setup look prod", "✗ ./setup takes one word, and not: look prod\nusage: "],
      ["setpriv --reuid=65534 --clear-groups ./setup", "✗ Run it as root.\n"],
      [
        "ln -s $PWD/node /srv && cp -r bin commands config host package.json setup /srv && /srv/setup",
        "✗ The service cannot run from /srv: unpack",
      ],
      ["rmdir /run/systemd/system && ./setup", "✗ This host does not run systemd."],
    ] as const) {
      const { exitCode, output } = await host.run(line);
      expect([exitCode, output], line).toEqual([expect.any(Number), expect.stringContaining(says)]);
      expect(exitCode).not.toBe(0);
    }
    await host.run("mkdir /run/systemd/system; rm /usr/bin/ss /usr/local/bin/ss /usr/bin/psql /usr/local/bin/psql");
    await host.run("rm /usr/local/bin/apt-get; mv /usr/bin/apt-get /usr/bin/no");
    const { exitCode, output } = await host.run("./setup", "admin\n");
    expect([exitCode, output]).toEqual([
      1,
      expect.stringContaining("Install these, since there is no apt-get: ss psql\n"),
    ]);
  });
});
