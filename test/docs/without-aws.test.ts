// ./setup, in a bare Debian, with a real Postgres, a real gateway and a real nginx.
import { cp, readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { tables } from "../../commands/declared-rights.ts";
import { deliver } from "../../commands/deliver.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks } from "../../lib/counts/checks.ts";
import { freePort } from "../../local/ports.ts";
import { startPostgres } from "../../local/postgres.ts";
import { makeCertificates } from "../helpers/certificates.ts";
import { type DebianHost, debianHost, needsDebian, unpacked } from "../helpers/debian.ts";
import { insertRows } from "../helpers/models.ts";
import { blocksOf } from "../helpers/pages.ts";

/** A Postgres with a ledger in which each check has rows, and the login veza_app, which reads it. */
async function ledger() {
  const server = await startPostgres(0);
  onTestFinished(() => server.stop());
  await runSqlFiles(server.superuserUrl, ["local/ledger.sql"]);
  const sql = postgres(server.superuserUrl, { max: 1, onnotice: () => {} });
  onTestFinished(() => sql.end());
  for (const check of checks) await sql.unsafe(insertRows(check, 4));
  await sql.unsafe("create role veza_app login password 'veza_app'");
  await sql.unsafe(`grant select on ${tables.join(", ")} to veza_app`);
  return { sql, database: `127.0.0.1:${server.port}/postgres` };
}

/** The password of each login, as Postgres keeps it. */
const passwords = (sql: postgres.Sql) =>
  sql`select rolname, rolpassword from pg_authid where rolname ~ '^veza_ledger' and rolpassword <> '' order by 1`;

/** Names that are right, for a reconciler on this host. */
const right = async (database: string) => ({
  database,
  admin: "postgres",
  gateway: inject("pushgatewayUrl"),
  servers: "",
  name: "",
  certificate: "",
  key: "",
  port: String(await freePort()),
  repository: "https://git.example.com/veza/blob/main",
  grafana: "https://grafana.internal",
});

async function readyHost(values: Record<string, string> = {}) {
  const host = await debianHost();
  const { sql, database } = await ledger();
  await host.name({ ...(await right(database)), ...values });
  return { host, sql, database };
}

/** All files in /etc and /opt, with their content, modes and owners. */
const filesOf = async (host: DebianHost) =>
  (
    await host.run(
      "find /etc /opt -xdev -type f ! -name node ! -name archive.tar -exec stat -c '%n %a %U' {} + -exec md5sum {} + | sort",
    )
  ).output;

describe("./setup", needsDebian, () => {
  it("leads to true numbers and a counted delivery by two commands; again, it changes nothing, and shows no secret", async () => {
    const { host, sql } = await readyHost({ stage: "staging", token: "t0ken", timezone: "Asia/Tokyo" });
    // Its times have no zone: in another zone than this, no row is old.
    await sql.unsafe("alter table orders alter created_at type timestamp using created_at at time zone 'Asia/Tokyo'");
    const look = await host.run("./setup look", "veza_app\n");
    expect(look.output).toMatch(/^[!✓] stuck_orders +4, /m);
    expect(look.exitCode).toBe(0);
    expect(await host.text("etc/veza-ledger-metrics.env")).toBe("");
    const first = await host.run("./setup", "postgres\n");
    expect([first.exitCode, first.output.match(/✗.*/g)], first.output).toEqual([0, null]);
    expect(first.output).toContain('"message":"tick","stuck_orders":4');
    expect(first.output).toContain("Recorded. It is on the gateway.");
    for (const file of ["names", "env"]) {
      expect((await stat(path.join(host.root, `etc/veza-ledger-metrics.${file}`))).mode & 0o777).toBe(0o600);
    }
    const before = [await filesOf(host), await passwords(sql)];
    const second = await host.run("./setup", "postgres\n");
    expect(second.exitCode, second.output).toBe(0);
    expect([await filesOf(host), await passwords(sql)]).toEqual(before);

    const settings = await host.text("etc/veza-ledger-metrics.env");
    const [password, secret] = [/veza_ledger:(\w+)@/, /(whsec_[^']+)/].map(
      (pattern) => pattern.exec(settings)?.[1] ?? "",
    );
    const shown = `${await host.text("run/fake/args")}${first.output}${second.output}`;
    expect(shown.length).toBeGreaterThan(4000);
    for (const text of [password, secret, "t0ken", ":postgres@"]) expect(shown).not.toContain(text);
  });

  it("names each line that is wrong, and changes nothing", async () => {
    const host = await debianHost();
    const without = await host.run("./setup");
    expect([without.exitCode, without.output]).toEqual([1, "✗ There are no names yet: run ./setup names.\n"]);
    const made = await host.run("./setup names");
    expect(made.exitCode).toBe(1);
    expect(made.output.match(/^✗ \w+ .*example/gm)).toHaveLength(4);
    expect((await stat(path.join(host.root, "etc/veza-ledger-metrics.names"))).mode & 0o777).toBe(0o600);
    const { key, cert } = await makeCertificates("DNS:push.example.com");
    const other = await makeCertificates("DNS:push.example.com");
    await host.write("etc/ssl/certs/push.pem", await readFile(cert, "utf8"));
    await host.write("etc/ssl/private/push.key", await readFile(key, "utf8"), 0o600);
    await host.write("etc/ssl/private/other.key", await readFile(other.key, "utf8"), 0o600);
    await host.write("etc/ssl/certs/closed.pem", await readFile(cert, "utf8"), 0o600);
    const certificate = { certificate: "/etc/ssl/certs/push.pem", key: "/etc/ssl/private/push.key" };
    const shipped = { ca: "/etc/ssl/certs/ca-certificates.crt", schema: "public", timezone: "UTC", stage: "" };
    const fine = { ...shipped, ...(await right("db.internal:5432/ledger")), name: "push.example.com", ...certificate };
    await host.name(fine);
    expect(await host.run("./setup names")).toMatchObject({ exitCode: 0, output: expect.stringContaining("well") });
    for (const [name, value, says] of [
      ["database", "", "is missing: HOST:5432/DATABASE"],
      ["database", "db.internal/ledger", "is wrong"],
      ["database", "postgres://db.internal:5432/ledger", "is wrong"],
      ["ca", "/root/ca.pem", "is no file with certificates"],
      ["ca", "/etc/passwd", "is no file with certificates"],
      ["ca", "/etc/ssl/certs/closed.pem", "is closed to the service: run chmod a.r"],
      ["schema", "a, b", "is wrong"],
      ["timezone", "Mars/Olympus", "is wrong: a time zone such as"],
      ["admin", "master:password", "is wrong: a login of Postgres, without its password"],
      ["stage", "drill", "is wrong"],
      ["servers", "prometheus grafana", "has grafana"],
      ["gateway", "127.0.0.1:9091", "is wrong: a URL"],
      ["repository", "https://github.com/OWNER/NAME/blob/main", "is still the example"],
      ["name", "localhost", "is wrong"],
      ["name", "", "is missing: certificate and key are for it"],
      ["certificate", "/etc/ssl/certs/none.pem", "is no file"],
      ["certificate", "/etc/ssl/private/push.key", "is no certificate in PEM"],
      ["key", "/etc/ssl/certs/push.pem", "is no key in PEM"],
      ["key", "/etc/ssl/private/other.key", "is not the key of"],
      ["name", "other.example.com", "is not for other.example.com"],
      ["port", "99999", "is wrong"],
    ] as const) {
      await host.name({ ...fine, [name]: value });
      const { exitCode, output } = await host.run("./setup", "postgres\n");
      const about = name === "name" && says.startsWith("is not for") ? "certificate" : name;
      expect([name, value, exitCode, output]).toEqual([
        name,
        value,
        1,
        expect.stringMatching(new RegExp(`^✗ ${about} +.*${says}`)),
      ]);
    }
    await host.write(
      "etc/veza-ledger-metrics.names",
      "databse=x\ngateway=http://u:p$w@h\ntoken='a' b\n$(touch /ran)\n",
    );
    const lines = (await host.run("./setup names")).output;
    expect(lines.match(/^✗ line \d/gm)).toEqual(["✗ line 1", "✗ line 2", "✗ line 3", "✗ line 4"]);
    expect(lines).not.toContain("p$w");
    expect(await host.run("ls /ran /etc/veza-ledger-metrics.env /opt/veza-ledger-metrics")).toMatchObject({
      output: expect.not.stringMatching(/^\//m),
    });
  });

  it("names what is missing where there is no apt-get, and what stops without systemd or root", async () => {
    const { host } = await readyHost();
    await host.run(
      "rm /usr/bin/jq /usr/bin/psql /usr/local/bin/psql /usr/local/bin/apt-get; mv /usr/bin/apt-get /usr/bin/no",
    );
    const { exitCode, output } = await host.run("./setup", "postgres\n");
    expect([exitCode, output]).toEqual([
      1,
      expect.stringContaining("Install these, since there is no apt-get: jq psql\n"),
    ]);
    await host.run("rmdir /run/systemd/system");
    expect((await host.run("./setup")).output).toMatch(/^✗ This host does not run systemd/);
    const nobody = await host.run("setpriv --reuid=65534 --clear-groups ./setup");
    expect(nobody).toMatchObject({ exitCode: 1, output: "✗ Run it as root.\n" });
  });

  it("names settings that differ from the names, and asks before it changes them alone", async () => {
    const { host } = await readyHost();
    expect(await host.run("./setup", "postgres\n")).toMatchObject({ exitCode: 0 });
    const before = `${await host.text("etc/veza-ledger-metrics.env")}HOST='127.0.0.1'\n`;
    await host.write("etc/veza-ledger-metrics.env", before, 0o644);
    await host.name({ stage: "prod", token: "hidden" });
    for (const answer of ["", "no\n"]) {
      const { exitCode, output } = await host.run("./setup", answer);
      expect([exitCode, output]).toEqual([
        1,
        expect.stringContaining("STAGE in /etc/veza-ledger-metrics.env is empty. Your names have: prod"),
      ]);
      expect(output).toContain("Nothing was changed.");
      expect(output).not.toContain("hidden");
      expect(await host.text("etc/veza-ledger-metrics.env")).toBe(before);
    }
    expect((await stat(path.join(host.root, "etc/veza-ledger-metrics.env"))).mode & 0o777).toBe(0o600);
    await host.run("./setup", "yes\n\n"); // The gateway of the tests takes any token.
    expect(await host.text("etc/veza-ledger-metrics.env")).toBe(`${before}PUSHGATEWAY_TOKEN='hidden'\nSTAGE='prod'\n`);
  });

  it("says that the administrator's password is wrong, and changes no password that a running host may have", async () => {
    const { host, sql, database } = await readyHost();
    const wrong = await host.run("./setup", "wrong\n");
    expect(wrong).toMatchObject({ exitCode: 1, output: expect.stringContaining("psql cannot log in as postgres") });
    expect(await host.run("./setup", "postgres\n")).toMatchObject({ exitCode: 0 });
    const before = await passwords(sql);
    const second = await debianHost();
    await second.name(await right(database));
    for (const answer of ["", "no\n"]) {
      const refused = await second.run("./setup", `postgres\n${answer}`);
      expect([refused.exitCode, refused.output], refused.output).toEqual([
        1,
        expect.stringContaining("run ./setup move there, and ./setup FILE here"),
      ]);
      expect(await passwords(sql)).toEqual(before);
    }
    const agreed = await second.run("./setup", "postgres\nyes\n");
    expect([agreed.exitCode, agreed.output], agreed.output).toEqual([
      0,
      expect.stringContaining("veza_ledger has the password of"),
    ]);
  });

  it("moves to another host with its password, and cannot count here meanwhile", async () => {
    const { host, sql } = await readyHost();
    expect(await host.run("./setup", "postgres\n")).toMatchObject({ exitCode: 0 });
    const [before, settings] = [await passwords(sql), await host.text("etc/veza-ledger-metrics.env")];
    const moved = await host.run("./setup move");
    expect([moved.exitCode, moved.output]).toEqual([0, expect.stringContaining("The service is stopped.")]);
    const file = "root/veza-ledger-metrics.moved";
    expect((await stat(path.join(host.root, file))).mode & 0o777).toBe(0o600);
    expect(await host.run("systemctl is-active --quiet veza-ledger-metrics")).not.toMatchObject({ exitCode: 0 });
    expect(await host.text("etc/veza-ledger-metrics.env")).toBe("");
    // Here, it would get a new password, and asks first.
    expect(await host.run("./setup", "postgres\n")).toMatchObject({
      exitCode: 1,
      output: expect.stringContaining("./setup move there"),
    });
    const other = await debianHost();
    await other.write("root/cut", "not of it");
    expect((await other.run("./setup /root/cut")).output).toBe(
      "✗ /root/cut is not of ./setup move, or is cut off. Nothing was changed.\n",
    );
    await cp(path.join(host.root, file), path.join(other.root, file));
    const there = await other.run("./setup /root/veza-ledger-metrics.moved", "\n");
    expect([there.exitCode, there.output], there.output).toEqual([
      0,
      expect.stringContaining('"message":"tick","stuck_orders":4'),
    ]);
    expect(await other.text("etc/veza-ledger-metrics.env")).toBe(settings);
    expect(await passwords(sql)).toEqual(before);
    expect((await other.run("./setup /root/veza-ledger-metrics.moved")).output).toContain(
      "has /etc/veza-ledger-metrics.env already. Delete",
    );
  });

  it("removes all that it has made, and the database only where it is told to", async () => {
    const { host, sql } = await readyHost({ servers: "" });
    const before = await filesOf(host);
    expect(await host.run("./setup", "postgres\n")).toMatchObject({ exitCode: 0 });
    expect(await host.run("./setup remove", "no\n")).toMatchObject({
      exitCode: 1,
      output: expect.stringContaining("Nothing was removed"),
    });
    const wrong = await host.run("./setup remove", "yes\nyes\nwrong\n");
    expect(wrong).toMatchObject({ exitCode: 1, output: expect.stringContaining("The database stays as it was") });
    const { exitCode, output } = await host.run("./setup remove", "yes\nyes\npostgres\n");
    expect([exitCode, output], output).toEqual([0, expect.stringContaining("Removed.")]);
    expect(await sql`select from pg_roles where rolname ~ '^veza_ledger'`).toHaveLength(0);
    const after = await host.run(
      "find /etc/systemd/system /etc/prometheus /etc/nginx -name 'veza*'; ls /opt; ls /etc/veza*",
      "",
      "/",
    );
    expect(after.output).toBe("archive.tar\nls: cannot access '/etc/veza*': No such file or directory\n");
    expect(before).not.toBe("");
  });

  it("gives nginx the name, the port and the certificate, which certbot's hook lets it read again", async () => {
    const live = "/etc/letsencrypt/live/push.example.com";
    const { ca, key, cert } = await makeCertificates("DNS:push.example.com");
    const ofPostgres = await makeCertificates("DNS:db.example.com");
    const { host } = await readyHost({
      name: "push.example.com",
      certificate: `${live}/fullchain.pem`,
      key: `${live}/privkey.pem`,
      ca: "/etc/ssl/certs/own.pem",
    });
    await host.write("etc/ssl/certs/own.pem", await readFile(ofPostgres.ca, "utf8"));
    await host.write("usr/local/share/ca-certificates/push.crt", await readFile(ca, "utf8"));
    await host.run("update-ca-certificates");
    await host.write(`${live.slice(1)}/fullchain.pem`, await readFile(cert, "utf8"));
    await host.write(`${live.slice(1)}/privkey.pem`, await readFile(key, "utf8"), 0o600);
    await host.write("etc/hosts", "127.0.0.1 localhost push.example.com\n");
    const site = "etc/nginx/conf.d/veza-ledger-metrics.conf";
    // nginx refuses a site that it cannot run: what was there before stays.
    await host.run("sed -i 's/listen 443 ssl;/listen 443 ssl of;/' config/nginx/veza-ledger-metrics.conf");
    const refused = await host.run("./setup", "postgres\n");
    expect([refused.exitCode, refused.output]).toEqual([1, expect.stringContaining("so it is removed again")]);
    expect(await host.text(site)).toBe("");
    await host.run("sed -i 's/ssl of;/ssl;/' config/nginx/veza-ledger-metrics.conf");
    const { exitCode, output } = await host.run("./setup", "\n");
    expect([exitCode, output], output).toEqual([0, expect.stringContaining("to https://push.example.com/")]);
    expect(await host.text("etc/letsencrypt/renewal-hooks/deploy/veza-ledger-metrics")).toBe(
      "#!/bin/sh\nsystemctl reload nginx\n",
    );
    expect(await host.text(site)).toContain("server_name push.example.com;");
    // A site that was edited is kept, and a name that it lacks is named.
    const edited = (await host.text(site)).replace("location / {", "location / { # Mine.").replace("privkey", "old");
    await host.run(`cp ${live}/privkey.pem ${live}/old.pem`);
    await host.write(site, edited);
    const kept = await host.run("./setup", "\n");
    expect([kept.exitCode, kept.output], kept.output).toEqual([
      0,
      expect.stringContaining(`It has \`ssl_certificate_key ${live}/old.pem;\`, and your names`),
    ]);
    expect(await host.text(site)).toBe(edited);
    // A certificate that has gone is a wrong name, and not kept.
    await host.run(`rm ${live}/fullchain.pem`);
    expect(await host.run("./setup", "\n")).toMatchObject({
      exitCode: 1,
      output: expect.stringMatching(/^✗ certificate +is no file/),
    });
  });

  it("goes on after Ctrl-C in each step, and after a disk that was full in each", async () => {
    const { host, sql, database } = await readyHost();
    for (const name of ["settings", "database", "look", "service", "receiver", "rules"]) {
      const setup = host.start("exec ./setup", "postgres\nyes\n");
      await setup.printed(new RegExp(`^${name}$`, "m"));
      process.kill(-Number(setup.child.pid), "SIGINT");
      await setup.exited;
    }
    const whole = await host.run("./setup", "postgres\nyes\n");
    expect([whole.exitCode, whole.output.match(/✗.*/g)], whole.output).toEqual([0, null]);

    const full = await debianHost(60);
    await full.name(await right(database));
    await sql.unsafe("alter role veza_ledger password null");
    const fill = () => full.run("cat /dev/zero >/full 2>/dev/null; true");
    const cannot = /cannot be written|No space left/;
    await fill();
    const settings = await full.run("./setup", "postgres\nyes\n");
    expect([settings.exitCode, settings.output], settings.output).toEqual([1, expect.stringMatching(cannot)]);
    expect((await full.run("cd /etc && ls veza*")).output).toBe("veza-ledger-metrics.names\n");
    await full.run(
      "rm /full; mkdir -p /run/systemd/no; mv /usr/local/bin/systemd-run /usr/local/bin/run; printf '#!/bin/sh\\ncat /dev/zero >/full 2>/dev/null; exit 0\\n' >/usr/local/bin/systemd-run; chmod +x /usr/local/bin/systemd-run",
    );
    const service = await full.run("./setup", "postgres\nyes\n");
    expect([service.exitCode, service.output], service.output).toEqual([
      1,
      expect.stringMatching(/service\n[\s\S]*No space left/),
    ]);
    expect((await full.run("find /etc/systemd/system -name 'veza*'; ls /opt")).output).toBe(
      `archive.tar\n${path.basename(unpacked)}\n`,
    );
    await full.run("rm /full; mv /usr/local/bin/run /usr/local/bin/systemd-run; touch /run/fake/fill-at-tick");
    const rules = await full.run("./setup", "postgres\n");
    expect([rules.exitCode, rules.output], rules.output).toEqual([
      1,
      expect.stringMatching(/rules\n[\s\S]*cannot be written/),
    ]);
    expect((await full.run("ls -A /etc/prometheus; ls *.new")).output).toMatch(/^ls: /);
    await full.run("rm /full /run/fake/fill-at-tick");
    const done = await full.run("./setup", "postgres\n");
    expect([done.exitCode, done.output.match(/✗.*/g)], done.output).toEqual([0, null]);
  });

  /** Unpacks another version beside that of the archive, with this command `serve`, if it is another. Returns its folder. */
  async function unpack(host: DebianHost, version: string, serve?: string) {
    const folder = `/opt/veza-ledger-metrics-${version}`;
    await host.run(
      `mkdir ${folder} && cp -r bin commands config package.json setup ${folder} && ln -s $PWD/node ${folder}`,
    );
    if (serve) await host.write(`${folder.slice(1)}/commands/serve.mjs`, serve);
    return folder;
  }

  it("loses no delivery by an upgrade, one that fails, and the way back", async () => {
    const { host, sql } = await readyHost({ port: "8099", stage: "upgraded" });
    expect(await host.run("./setup", "postgres\n")).toMatchObject({ exitCode: 0 });
    const secret = /whsec_[^']+/.exec(await host.text("etc/veza-ledger-metrics.env"))?.[0] ?? "";
    const body = JSON.stringify({ type: "reconciler.action", timestamp: new Date(), data: { phase: "stuck_orders" } });
    let [sent, ends] = [0, false];
    const sending = (async () => {
      while (!ends) {
        sent += 1;
        for (let status = 0; status !== 200; ) {
          const answer = deliver("http://127.0.0.1:8099/", secret, `msg_${sent}`, body);
          status = await answer.then(({ status }) => status).catch(() => 0); // A reconciler sends again.
          await sleep(20);
        }
      }
    })();
    const newer = await unpack(host, "1.0.1");
    const broken = await unpack(host, "1.0.2", "process.exit(3)");
    const unit = "etc/systemd/system/veza-ledger-metrics.service";
    await host.write(unit, "# Mine.\n");
    const upgrade = await host.run("./setup", "postgres\n", newer);
    expect([upgrade.exitCode, upgrade.output], upgrade.output).toEqual([
      0,
      expect.stringContaining(`Runs: ${newer}, at http://127.0.0.1:8099\n  The way back: ${unpacked}/setup`),
    ]);
    expect(upgrade.output).toContain("was not as its version had it. A copy is in");
    expect(await host.text(`${unit}.before`)).toBe("# Mine.\n");
    const failed = await host.run("./setup", "postgres\n", broken);
    expect([failed.exitCode, failed.output], failed.output).toEqual([
      1,
      expect.stringContaining(`Runs: ${newer}, at http://127.0.0.1:8099, as before`),
    ]);
    const back = await host.run("./setup"); // Nobody types a password: the newer schema stays.
    expect([back.exitCode, back.output], back.output).toEqual([
      0,
      expect.stringContaining(`Kept as it is: this version runs on the schema of ${broken}, too.`),
    ]);
    expect(back.output).toContain(`Runs: ${unpacked}, at`);
    ends = true;
    await sending;
    expect(sent).toBeGreaterThan(50);
    const counted = await sql`select value::int from ledger_metrics.totals
      where name = 'veza_reconciler_actions_total' and labels::text like '%stuck_orders%'`;
    expect(counted).toEqual([{ value: sent }]);
  });

  it("says what runs where the first version fails, and where another program has the port", async () => {
    const { host } = await readyHost({ port: "8098" });
    const serve = await host.text(`${unpacked.slice(1)}/commands/serve.mjs`);
    const served = `${unpacked.slice(1)}/commands/serve.mjs`;
    const shortSeconds = () => host.write("usr/local/bin/sleep", "#!/bin/sh\nexec /bin/sleep 0.1\n", 0o755);
    await shortSeconds();
    for (const program of ["process.exit(3)", "setInterval(() => {}, 1000)"]) {
      await host.write(served, program);
      const failed = await host.run("./setup", "postgres\n");
      expect([failed.exitCode, failed.output], failed.output).toEqual([1, expect.stringContaining("Nothing runs: ")]);
      expect((await host.run("ls /run/fake/enabled /opt/veza-ledger-metrics /run/fake/pid")).output).not.toMatch(
        /^\//m,
      );
    }
    const unhealthy = `import http from "node:http";
      http.createServer((_, answer) => answer.writeHead(503).end()).listen(8098, "127.0.0.1");`;
    await host.write(served, unhealthy);
    expect((await host.run("./setup", "postgres\n")).output).toContain("Nothing runs: ");
    await host.write(served, serve);
    const other = createServer().listen(8098, "127.0.0.1");
    onTestFinished(() => void other.close());
    const taken = await host.run("./setup", "postgres\n");
    expect([taken.exitCode, taken.output]).toEqual([1, expect.stringContaining("Another program has port 8098")]);
    other.close();
    await host.run("rm /usr/local/bin/sleep");
    expect(await host.run("./setup", "postgres\n")).toMatchObject({ exitCode: 0 });
    await shortSeconds();
    await host.write(served, "process.exit(3)");
    expect((await host.run("./setup", "postgres\n")).output).toContain(
      "Nothing answers. systemd keeps trying this version.",
    );
  });

  it.each([
    ["the examples are still there", "", "", /Replace the examples in \S+, lines [\d ]+:/, /A page goes to: pages/],
    [
      "a page of the stage wakes nobody",
      "filled in",
      "production",
      /If customers pay on production, name it/,
      /of production goes to: tickets/,
    ],
  ])("says what is left to do where %s", async (_, route, stage, says, where) => {
    const { host } = await readyHost({ servers: "prometheus-alertmanager", stage });
    const shipped = await readFile("config/alertmanager/alertmanager.yml", "utf8");
    await host.write(
      "etc/prometheus/alertmanager.yml",
      route ? shipped.replaceAll("127.0.0.1:9999", "pager.example.com") : shipped,
    );
    await host.write(
      "etc/default/prometheus-alertmanager",
      await readFile("config/default/prometheus-alertmanager", "utf8"),
    );
    await host.write("run/fake/installed", "prometheus-alertmanager\n");
    const { exitCode, output } = await host.run("./setup", "postgres\n");
    expect([exitCode, output], output).toEqual([0, expect.stringMatching(says)]);
    expect(output).toMatch(where);
    expect((await host.run("./setup rules")).output.includes("Replace the examples")).toBe(route === "");
    expect(await host.text("etc/prometheus/veza-ledger-metrics.yml")).toContain(
      "https://git.example.com/veza/blob/main/docs/",
    );
    expect(await host.text(`${unpacked.slice(1)}/dashboard.json`)).toContain("https://git.example.com/");
  });

  it("runs each line that its pages show, as it is shown", async () => {
    const pages = ["without-aws", "drill", "servers-in-use", "upgrade", "removal"].map((name) => `docs/${name}.md`);
    const blocks = await Promise.all(pages.map((page) => blocksOf(page, "sh")));
    const lines = blocks.flat().flatMap((block) => block.replaceAll("\\\n", "").trimEnd().split("\n"));
    // Those of a clone and of AWS, one for the tables' owner, and one that asks a running Alertmanager.
    const elsewhere = /^(npm|git|aws|deploy\/aws\.sh|psql -v schema=public|amtool --alertmanager\.url)\b/;
    const shown = lines.filter((line) => !elsewhere.test(line));
    const { host } = await readyHost();
    await host.run(
      "cd /opt && gzip -1 <archive.tar >/root/$0 && cd /root && sha256sum $0 >$0.sha256 && rm -r /opt/veza*".replaceAll(
        "$0",
        `${path.basename(unpacked)}-linux-x64.tar.gz`,
      ),
      "",
      "/opt",
    );
    await host.write("usr/local/bin/sleep", '#!/bin/sh\n[ "$1" != 120 ] || set 0\nexec /bin/sleep "$1"\n', 0o755);
    await host.write("etc/prometheus/alertmanager.yml", await readFile("config/alertmanager/alertmanager.yml", "utf8"));
    const typed: Record<string, string> = {
      "./setup look": "veza_app\n",
      "./setup": "postgres\n",
      "./setup drill": "\n",
      "./setup remove": "yes\nyes\npostgres\nyes\n",
    };
    let folder = "/root";
    for (const line of shown) {
      const { exitCode, output } = await host.run(line, typed[line], folder);
      expect([line, exitCode], output).toEqual([line, 0]);
      if (line.includes("&& cd /opt/")) folder = unpacked;
    }
    expect(shown).toContain("./setup remove");
    expect(shown.length).toBeGreaterThan(10);
  });
});
