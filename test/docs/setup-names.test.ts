// ./setup: names and settings that are wrong, or differ.
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { freePort } from "../../local/ports.ts";
import { makeCertificates } from "../helpers/certificates.ts";
import { debianHost, installedHost, needsDebian, rightNames } from "../helpers/debian.ts";

const settings = "etc/veza-ledger-metrics.env";

describe("./setup", needsDebian, () => {
  it("names each line that is wrong, and changes nothing", async () => {
    const host = await debianHost();
    const without = await host.run("./setup");
    expect([without.exitCode, without.output]).toEqual([1, "✗ There are no names yet: run ./setup names.\n"]);
    const made = await host.run("./setup names");
    expect(made.exitCode).toBe(1);
    expect(made.output.match(/^✗ \w+ .*example/gm)).toHaveLength(4);
    expect(await host.mode("etc/veza-ledger-metrics.names")).toBe(0o600);
    const [ours, other] = await Promise.all([1, 2].map(() => makeCertificates("DNS:push.example.com")));
    const [cert = "", key = "", others = ""] = await Promise.all(
      [ours?.cert, ours?.key, other?.key].map((file) => readFile(file ?? "", "utf8")),
    );
    await host.write("etc/ssl/certs/push.pem", cert);
    await host.write("etc/ssl/certs/closed.pem", cert, 0o600);
    await host.write("etc/ssl/private/push.key", key, 0o600);
    await host.write("etc/ssl/private/other.key", others, 0o600);
    const certificate = { certificate: "/etc/ssl/certs/push.pem", key: "/etc/ssl/private/push.key" };
    const shipped = { ca: "/etc/ssl/certs/ca-certificates.crt", schema: "public", timezone: "UTC", stage: "" };
    const fine = {
      ...shipped,
      ...(await rightNames("db.internal:5432/ledger")),
      name: "push.example.com",
      ...certificate,
    };
    await host.name(fine);
    expect(await host.run("./setup names")).toMatchObject({ exitCode: 0, output: expect.stringContaining("well") });
    const wrong: Record<string, [value: string, says: string]>[] = [
      {
        database: ["", "is missing: HOST:5432/DATABASE"],
        ca: ["/root/ca.pem", "is no file with certificates"],
        schema: ["a, b", "is wrong"],
        timezone: ["Mars/Olympus", "is wrong: a time zone such as"],
        admin: ["master:password", "is wrong: a login of Postgres, without its password"],
        stage: ["drill", "is wrong"],
        servers: ["prometheus grafana", "has grafana"],
        gateway: ["127.0.0.1:9091", "is wrong: a URL"],
        repository: ["https://github.com/OWNER/NAME/blob/main", "is still the example"],
        name: ["localhost", "is wrong"],
        certificate: ["/etc/ssl/certs/none.pem", "is no file"],
        port: ["99999", "is wrong"],
      },
      {
        database: ["db.internal/ledger", "is wrong"],
        ca: ["/etc/passwd", "is no file with certificates"],
        timezone: ["+01", "is wrong"],
        name: ["", "is missing: certificate and key are for it"],
      },
      {
        database: ["postgres://db.internal:5432/ledger", "is wrong"],
        ca: ["/etc/ssl/certs/closed.pem", "is closed to the service: run chmod a.r"],
        certificate: ["/etc/ssl/private/push.key", "is no certificate in PEM"],
      },
      { key: ["/etc/ssl/certs/push.pem", "is no key in PEM"] },
      { key: ["/etc/ssl/private/other.key", "is not the key of"] },
    ];
    for (const names of wrong) {
      const values = Object.entries(names).map(([name, [value]]) => [name, value]);
      await host.name({ ...fine, ...Object.fromEntries(values) });
      const { exitCode, output } = await host.run("./setup", "admin\n");
      for (const [name, [, says]] of Object.entries(names)) {
        expect(output).toMatch(new RegExp(`^✗ ${name} +.*${says}`, "m"));
      }
      expect([exitCode, output.match(/^✗ /gm)?.length], output).toEqual([1, values.length + 1]);
    }
    await host.name({ ...fine, name: "other.example.com" });
    expect((await host.run("./setup")).output).toMatch(/^✗ certificate +is not for other\.example\.com/);
    await host.run(`openssl req -x509 -newkey rsa:2048 -nodes -keyout /etc/ssl/private/old.key -out /etc/ssl/certs/old.pem \\
      -subj /CN=push.example.com -not_before 20200101000000Z -not_after 20200201000000Z`);
    await host.name({ ...fine, certificate: "/etc/ssl/certs/old.pem", key: "/etc/ssl/private/old.key" });
    expect((await host.run("./setup")).output).toMatch(/^✗ certificate +has expired/);
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

  it("names settings that differ from the names, asks before it changes them, and puts them back where a step fails", async () => {
    const { host } = await installedHost();
    const was = `${await host.text(settings)}HOST='127.0.0.1'\n`;
    const port = String(await freePort());
    await host.name({ port, token: "hidden", gateway: "http://somebody:s3cret@127.0.0.1:9" });
    // An earlier run was killed when it had changed them.
    await host.write(`${settings}.before`, was, 0o644);
    await host.write(settings, "PORT='1'\n");
    for (const answer of ["", "no\n"]) {
      const { exitCode, output } = await host.run("./setup", answer);
      expect([exitCode, output]).toEqual([
        1,
        expect.stringMatching(`PORT in /${settings} is \\d+. Your names have: ${port}`),
      ]);
      expect(output).toContain("Nothing was changed.");
      expect(output).not.toMatch(/hidden|s3cret/);
      expect(await host.text(settings)).toBe(was);
    }
    expect(await host.mode(settings)).toBe(0o600);
    const away = await host.run("./setup", "yes\n\n");
    expect([away.exitCode, away.output], away.output).toEqual([
      1,
      expect.stringContaining("✗ The step look has failed."),
    ]);
    expect(await host.text(settings)).toBe(was);
    await host.name({ gateway: (await rightNames("")).gateway }); // It takes any token.
    const agreed = await host.run("./setup", "yes\n\n");
    expect(agreed.exitCode, agreed.output).toBe(0);
    expect(await host.text(settings)).toBe(
      `${was.replace(/^PORT.*\n/m, "")}PUSHGATEWAY_TOKEN='hidden'\nPORT='${port}'\n`,
    );
    await host.write(settings, was.replace("veza_ledger:", "postgres:"));
    expect((await host.run("./setup")).output).toMatch(
      /DATABASE_URL in .* has to be postgres:\/\/veza_ledger:PASSWORD@/,
    );
  });
});
