// ./setup with two hosts, and its end: another password, the move to another host, and the removal.
import { cp, readFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, inject, it } from "vitest";
import { makeCertificates } from "../helpers/certificates.ts";
import { debianHost, installedHost, needsDebian, passwordsIn, readyHost } from "../helpers/debian.ts";
import { rightNames } from "../helpers/names-of-host.ts";
import { startTlsFront } from "../helpers/tls.ts";

const settings = "etc/veza-ledger-metrics.env";

describe("./setup", needsDebian, () => {
  it("says that the administrator's password is wrong, and changes no password that a running host may have", async () => {
    const { host, sql, database } = await readyHost();
    const wrong = await host.run("./setup", "wrong\n");
    expect(wrong).toMatchObject({ exitCode: 1, output: expect.stringContaining("psql cannot log in as veza_admin") });
    expect(await host.run("./setup", "admin\n")).toMatchObject({ exitCode: 0 });
    const before = await passwordsIn(sql);
    const second = await debianHost();
    // Both are on one machine, and the first goes on.
    await second.name({ ...rightNames(database), port: "8081" });
    for (const answer of ["", "no\n"]) {
      const refused = await second.run("./setup", `admin\n${answer}`);
      expect([refused.exitCode, refused.output], refused.output).toEqual([
        1,
        expect.stringContaining("run ./setup move there, and ./setup FILE here"),
      ]);
      expect(await passwordsIn(sql)).toEqual(before);
      expect(await second.text(settings), "./setup FILE writes them").toBe("");
    }
    const agreed = await second.run("./setup", "admin\nyes\n");
    expect([agreed.exitCode, agreed.output], agreed.output).toEqual([
      0,
      expect.stringContaining("veza_ledger has the password of"),
    ]);
    // By hand, in the file: as a URL has it.
    const encoding = (await second.text(settings)).replace(/veza_ledger:\w+@/, "veza_ledger:n%65w%23%20%27pass@");
    await second.write(settings, encoding);
    const encoded = await second.run("./setup", "admin\nyes\n");
    expect([encoded.exitCode, encoded.output], encoded.output).toEqual([
      0,
      expect.stringContaining("veza_ledger has the password of"),
    ]);
    expect(await second.text(settings)).toBe(encoding);
  });

  it("moves to another host with its password, and cannot count here meanwhile", async () => {
    const { host, sql } = await installedHost();
    const [before, moved] = [await passwordsIn(sql), await host.text(settings)];
    const move = await host.run("./setup move");
    expect([move.exitCode, move.output]).toEqual([0, expect.stringContaining("The service is stopped.")]);
    const file = "root/veza-ledger-metrics.moved";
    expect(await host.mode(file)).toBe(0o600);
    expect(await host.run("systemctl is-active --quiet veza-ledger-metrics")).not.toMatchObject({ exitCode: 0 });
    // Here, it makes no new ones, which ./setup FILE would not replace.
    const again = await host.run("./setup", "admin\n");
    expect([again.exitCode, again.output]).toEqual([
      1,
      expect.stringContaining(`have it here again: ./setup /${file}`),
    ]);
    expect(await host.text(settings)).toBe("");
    const other = await debianHost();
    await other.write("root/cut", "not of it");
    expect((await other.run("./setup /root/cut")).output).toBe(
      "✗ /root/cut is not of ./setup move, or is cut off. Nothing was changed.\n",
    );
    await cp(path.join(host.root, file), path.join(other.root, file));
    const there = await other.run(`./setup /${file}`, "\n");
    expect([there.exitCode, there.output], there.output).toEqual([
      0,
      expect.stringContaining('"message":"tick","stuck_orders":4'),
    ]);
    expect([await other.text(settings), await passwordsIn(sql)]).toEqual([moved, before]);
    expect((await other.run(`./setup /${file}`)).output).toContain("has /etc/veza-ledger-metrics.env already. Delete");
  });

  it("trusts the authority of its names at the gateway: in each tick, in the drill, and in the removal", async () => {
    const certificates = await makeCertificates("IP:127.0.0.1");
    const { port } = await startTlsFront(inject("pushgatewayUrl"), certificates);
    const { host, database } = await readyHost();
    await host.write("etc/ssl/certs/own.pem", await readFile(certificates.ca, "utf8"));
    const stage = "own-authority";
    await host.name({ gateway: `https://127.0.0.1:${port}`, ca: "/etc/ssl/certs/own.pem", stage });
    expect(await host.run("./setup", "admin\n"), database).toMatchObject({ exitCode: 0 });
    const jobsOf = async (stage: string) =>
      (await (await fetch(`${inject("pushgatewayUrl")}/metrics`)).text()).match(
        new RegExp(`^push_time_seconds\\{.*stage="${stage}".*`, "gm"),
      )?.length ?? 0;
    expect(await jobsOf(stage)).toBe(2);
    const drill = host.start("exec ./setup drill", "\n");
    await drill.printed(/wait for 2 minutes/);
    process.kill(-Number(drill.child.pid), "SIGINT");
    expect((await drill.exited).output).not.toContain("✗");
    const removed = await host.run("./setup remove", "yes\nno\n");
    expect([removed.exitCode, removed.output]).toEqual([0, expect.not.stringContaining("still shows")]);
    expect(await jobsOf(stage)).toBe(0);
  });

  // without-aws.test.ts has the removal of the database.
  it("removes the database after a first run that has failed, too", async () => {
    const { host, sql } = await readyHost();
    await host.write("usr/local/sbin/systemd-run", "#!/bin/sh\nexit 1\n", 0o755);
    expect((await host.run("./setup", "admin\n")).output).toContain("✗ The step look has failed.");
    expect(await host.run("./setup remove", "yes\nyes\nadmin\n")).toMatchObject({ exitCode: 0 });
    expect(await sql`select from pg_roles where rolname ~ '^veza_ledger'`).toHaveLength(0);
  });

  it("can be run again where apt-get fails in the removal, as beside a held lock", async () => {
    const { host } = await installedHost();
    const ofSetup = "etc/default/prometheus-pushgateway";
    await host.write(ofSetup, await readFile("config/default/prometheus-pushgateway", "utf8"));
    await host.write("usr/local/sbin/apt-get", '#!/bin/sh\necho "apt-get $*"; exit 100\n', 0o755);
    const failed = await host.run("./setup remove", "yes\nno\nyes\n");
    expect([failed.exitCode, failed.output], failed.output).toEqual([
      1,
      expect.stringMatching(
        /^apt-get purge -o DPkg::Lock::Timeout=300 -y prometheus-pushgateway\n✗ These servers stay/m,
      ),
    ]);
    expect(failed.output).not.toContain("Removed.");
    await host.write("usr/local/sbin/apt-get", `#!/bin/sh\nrm /${ofSetup}\n`, 0o755);
    expect(await host.run("./setup remove", "yes\nno\nyes\n")).toMatchObject({
      exitCode: 0,
      output: expect.stringContaining("Removed."),
    });
    expect(await host.text(ofSetup)).toBe("");
  });

  it("removes all that it has made, and the database only where it is told to", async () => {
    const { host, sql } = await installedHost();
    await host.write("root/veza-ledger-metrics.moved", "of an earlier ./setup move", 0o600);
    const said = (output: string) => expect.objectContaining({ exitCode: 1, output: expect.stringContaining(output) });
    expect(await host.run("./setup remove", "no\n")).toEqual(said("Nothing was removed"));
    expect(await host.run("./setup remove", "yes\nyes\nwrong\n")).toEqual(said("The database stays as it was"));
    const { exitCode, output } = await host.run("./setup remove", "yes\nno\n");
    expect([exitCode, output], output).toEqual([0, expect.stringContaining("Kept: the schema and the logins")]);
    expect(await sql`select from pg_roles where rolname ~ '^veza_ledger'`).toHaveLength(4);
    const places = "/etc/systemd/system /etc/prometheus /etc/nginx /etc/veza* /opt/* /root";
    expect((await host.run(`find ${places} -name 'veza*' 2>/dev/null`, "", "/")).output).toBe("");
  });
});
