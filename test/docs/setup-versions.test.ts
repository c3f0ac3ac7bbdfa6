// ./setup: which version runs after an upgrade, one that fails, and the way back.
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { deliver } from "../../commands/deliver.ts";
import { type DebianHost, installedHost, needsDebian, readyHost, unpacked } from "../helpers/debian.ts";

describe("./setup", needsDebian, () => {
  /** Unpacks another version beside that of the archive, with this command `serve`, if it is another. Returns its folder. */
  async function unpack(host: DebianHost, version: string, serve?: string) {
    const folder = `/opt/veza-ledger-metrics-${version}`;
    await host.run(
      `mkdir ${folder} && cp -r bin commands config host package.json setup ${folder} && ln -s $PWD/node ${folder}`,
    );
    if (serve) await host.write(`${folder.slice(1)}/commands/serve.mjs`, serve);
    return folder;
  }

  it("loses no delivery by an upgrade, one that fails, and the way back", async () => {
    const { host, sql } = await installedHost({ stage: "upgraded" });
    const settings = await host.text("etc/veza-ledger-metrics.env");
    const secret = /whsec_[^']+/.exec(settings)?.[0] ?? "";
    const body = JSON.stringify({ type: "reconciler.action", timestamp: new Date(), data: { phase: "stuck_orders" } });
    let [sent, ends] = [0, false];
    const sending = (async () => {
      while (!ends) {
        sent += 1;
        for (let status = 0; status !== 200; ) {
          const answer = deliver("http://127.0.0.1:8080/", secret, `msg_${sent}`, body);
          status = await answer.then(({ status }) => status).catch(() => 0); // A reconciler sends again.
          await sleep(20);
        }
      }
    })();
    const newer = await unpack(host, "1.0.1");
    const broken = await unpack(host, "1.0.2", "process.exit(3)");
    const unit = "etc/systemd/system/veza-ledger-metrics.service";
    await host.write(unit, "# Mine.\n");
    const upgrade = await host.run("./setup", "admin\n", newer);
    expect([upgrade.exitCode, upgrade.output], upgrade.output).toEqual([
      0,
      expect.stringContaining(`Runs: ${newer}, at http://127.0.0.1:8080\n  The way back: ${unpacked}/setup`),
    ]);
    expect(upgrade.output).toContain("was not as its version had it. A copy is in");
    expect(await host.text(`${unit}.before`)).toBe("# Mine.\n");
    await host.name({ token: "another" });
    const failed = await host.run("./setup", "admin\n", broken);
    expect([failed.exitCode, failed.output], failed.output).toEqual([
      1,
      expect.stringContaining(`Runs: ${newer}, at http://127.0.0.1:8080, as before`),
    ]);
    expect(await host.text("etc/veza-ledger-metrics.env")).toBe(settings);
    expect((await host.run("cat /proc/$(cat /run/fake/pid)/environ")).output).toMatch(
      /STAGE=upgraded\0(?![\s\S]*another)/,
    );
    await host.name({ token: "" });
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
    const { host } = await readyHost();
    const serve = await host.text(`${unpacked.slice(1)}/commands/serve.mjs`);
    const served = `${unpacked.slice(1)}/commands/serve.mjs`;
    const shortSeconds = () => host.write("usr/local/bin/sleep", "#!/bin/sh\nexec /bin/sleep 0.1\n", 0o755);
    await shortSeconds();
    const unhealthy = `import http from "node:http";
      http.createServer((_, answer) => answer.writeHead(503).end()).listen(8080, "127.0.0.1");`;
    for (const program of ["setInterval(() => {}, 1000)", unhealthy]) {
      await host.write(served, program);
      const failed = await host.run("./setup", "admin\n");
      expect([failed.exitCode, failed.output], failed.output).toEqual([1, expect.stringContaining("Nothing runs: ")]);
      expect((await host.run("ls /run/fake/enabled /opt/veza-ledger-metrics /run/fake/pid")).output).not.toMatch(
        /^\//m,
      );
    }
    await host.write(served, serve);
    const other = createServer().listen(8080, "127.0.0.1");
    onTestFinished(() => void other.close());
    const taken = await host.run("./setup", "admin\n");
    expect([taken.exitCode, taken.output]).toEqual([1, expect.stringContaining("Another program has port 8080")]);
    other.close();
    await host.run("rm /usr/local/bin/sleep");
    expect(await host.run("./setup", "admin\n")).toMatchObject({ exitCode: 0 });
    await shortSeconds();
    await host.write(
      served,
      `${unhealthy.replace("503", "200")}
      console.log('{"message":"tick","stuck_orders":-1}');`,
    );
    const unknown = await host.run("./setup", "admin\n");
    expect([unknown.exitCode, unknown.output]).toEqual([1, expect.stringContaining("Its log says why: ")]);
    await host.write(served, "process.exit(3)");
    expect((await host.run("./setup", "admin\n")).output).toContain(
      "Nothing answers. systemd keeps trying this version.",
    );
  });
});
