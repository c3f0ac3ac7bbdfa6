// ./setup and the servers around the service: nginx, Prometheus and Alertmanager.
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { makeCertificates } from "../helpers/certificates.ts";
import { needsDebian, readyHost, unpacked } from "../helpers/debian.ts";

describe("./setup", needsDebian, () => {
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
    const refused = await host.run("./setup", "admin\n");
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

  it("says where a page goes, and what is left to do about it", async () => {
    const { host } = await readyHost({ servers: "prometheus-alertmanager", stage: "production" });
    const route = "etc/prometheus/alertmanager.yml";
    const shipped = await readFile("config/alertmanager/alertmanager.yml", "utf8");
    await host.write(route, shipped);
    await host.write(
      "etc/default/prometheus-alertmanager",
      await readFile("config/default/prometheus-alertmanager", "utf8"),
    );
    await host.write("run/fake/installed", "prometheus-alertmanager\n");
    const { exitCode, output } = await host.run("./setup", "admin\n");
    expect(exitCode, output).toBe(0);
    expect(output).toMatch(/Replace the examples in \S+, lines [\d ]+:/);
    expect(output).toContain("A page of production goes to: tickets");
    expect(output).toContain("If customers pay on production, name it beside prod");
    expect(await host.text("etc/prometheus/veza-ledger-metrics.yml")).toContain(
      "https://git.example.com/veza/blob/main/docs/",
    );
    expect(await host.text(`${unpacked.slice(1)}/dashboard.json`)).toContain("https://git.example.com/");
    await host.write(route, shipped.replaceAll("127.0.0.1:9999", "pager.example.com"));
    await host.name({ stage: "" });
    const filledIn = (await host.run("./setup rules")).output;
    expect(filledIn).toContain("A page goes to: pages");
    expect(filledIn).not.toMatch(/Replace the examples|name it beside/);
    // An older Prometheus keeps the rules that it has.
    await host.name({ repository: "https://moved.example.com" });
    await host.run("mv /usr/local/bin/promtool /root; ln -s /bin/false /usr/local/bin/promtool");
    expect(await host.run("./setup rules")).toMatchObject({
      exitCode: 1,
      output: expect.stringContaining("Prometheus does not take the rules"),
    });
    expect(await host.text("etc/prometheus/veza-ledger-metrics.yml")).not.toContain("moved.example");
    await host.run("mv /root/promtool /usr/local/bin");
    await host.write(route, "route: { receiver: nobody }\n");
    expect(await host.run("./setup rules")).toMatchObject({
      exitCode: 1,
      output: expect.stringContaining(`Alertmanager does not take /${route}: correct`),
    });
  });
});
