// ./setup: names that are wrong, and settings that become others. test/setup/host/ has each name.
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { makeCertificates } from "../helpers/certificates.ts";
import { debianHost, installedHost, needsDebian } from "../helpers/debian.ts";
import { rightNames } from "../helpers/names-of-host.ts";

const settings = "etc/veza-ledger-metrics.env";
const names = "etc/veza-ledger-metrics.yml";

describe("./setup", needsDebian, () => {
  it("names each line that is wrong, and changes nothing", async () => {
    const host = await debianHost();
    const without = await host.run("./setup");
    expect([without.exitCode, without.output]).toEqual([1, "✗ There are no names yet: run ./setup names.\n"]);
    const made = await host.run("./setup names");
    expect(made.exitCode).toBe(1);
    const wrongAtFirst = [...made.output.matchAll(/^✗ \/etc\/veza-ledger-metrics\.yml:\d+: (\w+) is (still|empty)/gm)];
    expect(wrongAtFirst.map(([, name]) => name)).toEqual([
      "database",
      "reader",
      "admin",
      "name",
      "repository",
      "grafana",
    ]);
    expect(await host.mode(names)).toBe(0o600);

    const { cert, key } = await makeCertificates("DNS:push.veza.test");
    await host.write("etc/ssl/certs/push.pem", await readFile(cert, "utf8"));
    await host.write("etc/ssl/private/push.key", await readFile(key, "utf8"), 0o600);
    const files = { certificate: "/etc/ssl/certs/push.pem", key: "/etc/ssl/private/push.key" };
    const fine = { ...rightNames("db.internal:5432/ledger"), name: "push.veza.test", ...files };
    await host.name(fine);
    expect(await host.run("./setup names")).toMatchObject({ exitCode: 0, output: expect.stringContaining("well") });
    // As an editor on Windows stores it.
    await host.write(names, `\uFEFF${(await host.text(names)).replaceAll("\n", "\r\n")}`);
    expect(await host.run("./setup names")).toMatchObject({ exitCode: 0, output: expect.stringContaining("well") });

    // It is fetched from Amazon, and here is no network. The other two are told with it, and nothing is run.
    await host.name({ ca: "/etc/ssl/certs/rds.pem", schema: "$(touch /ran)", gateway: "http://u:s3cret@push/?x" });
    const { exitCode, output } = await host.run("./setup", "admin\n");
    expect([exitCode, output.match(/^✗ .*/gm)]).toEqual([
      1,
      [
        expect.stringMatching(/^✗ \S+:\d+: schema /),
        expect.stringMatching(/^✗ \S+:\d+: gateway must not have a query/),
        expect.stringMatching(/^✗ \S+:\d+: ca cannot be fetched: is there a network\?/),
        expect.stringContaining("Nothing was changed."),
      ],
    ]);
    expect(output).not.toContain("s3cret");
    expect(await host.run("ls /ran /etc/veza-ledger-metrics.env* /opt/veza-ledger-metrics")).toMatchObject({
      output: expect.not.stringMatching(/^\//m),
    });
  });

  it("gives the service what the names have when it was tried, and leaves what is in use, also after a kill", async () => {
    const { host } = await installedHost();
    const was = `${await host.text(settings)}HOST='127.0.0.1'\n`;
    await host.write(settings, was, 0o644);
    const pid = await host.text("run/fake/pid");
    /** What is in use is as it was, on the disk and in the process. */
    const isInUse = async () => {
      expect(await host.text(settings)).toBe(was);
      expect(await host.text("run/fake/pid")).toBe(pid);
    };
    await host.name({ port: "8081", gateway: "http://somebody:s3cret@127.0.0.1:9" });
    const failed = await host.run("./setup", "\n");
    expect([failed.exitCode, failed.output]).toEqual([1, expect.stringContaining("✗ The step look has failed.")]);
    expect(failed.output).toContain("PORT: 8080 → 8081\n");
    expect(failed.output).toContain(" → http://127.0.0.1:9\n");
    expect(failed.output).not.toContain("s3cret");
    for (const file of [settings, `${settings}.next`]) expect(await host.mode(file)).toBe(0o600);
    await isInUse();

    const { gateway } = rightNames("");
    await host.name({ gateway, token: "hidden" }); // It takes any token.
    await host.write("usr/local/sbin/systemd-run", "#!/bin/sh\necho is tried\nexec sleep 60\n", 0o755);
    const killed = host.start("exec ./setup", "\n");
    await killed.printed(/is tried/);
    process.kill(-Number(killed.child.pid), "SIGKILL");
    await killed.exited;
    await host.run("rm /usr/local/sbin/systemd-run");
    await isInUse();

    // Another run was killed when it had given them to the service.
    await host.run(`cd /etc && ln veza-ledger-metrics.env veza-ledger-metrics.env.before &&
      echo "PORT='1'" >veza-ledger-metrics.env.next && mv veza-ledger-metrics.env.next veza-ledger-metrics.env`);
    const { exitCode, output } = await host.run("./setup", "\n");
    expect([exitCode, output], output).toEqual([0, expect.stringContaining("Put back: ")]);
    expect(output).not.toContain("hidden");
    const now = await host.text(settings);
    expect(now).toContain("PORT='8081'\n");
    expect(now).toContain("PUSHGATEWAY_TOKEN='hidden'\n");
    for (const kept of [/DATABASE_URL=.*/, /WEBHOOK_SECRET=.*/, /HOST=.*/]) {
      expect(kept.exec(now)?.[0]).toBe(kept.exec(was)?.[0]);
    }
    expect((await host.run("ls /etc/veza-ledger-metrics.env*")).output).toBe(`/${settings}\n`);

    await host.write(settings, was.replace("veza_ledger:", "postgres:"));
    expect((await host.run("./setup")).output).toMatch(
      /DATABASE_URL in .* has to be postgres:\/\/veza_ledger:PASSWORD@/,
    );
  });
});
