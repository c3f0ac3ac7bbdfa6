// ./setup and the servers around the service: nginx, Prometheus and Alertmanager.
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { makeCertificates } from "../helpers/certificates.ts";
import { needsDebian, port443, readyHost, unpacked } from "../helpers/debian.ts";

describe("./setup", needsDebian, () => {
  it("gives nginx the name, the port and the certificate, which certbot's hook lets it read again", async () => {
    await port443();
    const live = "/etc/letsencrypt/live/push.veza.test";
    const { ca, key, cert } = await makeCertificates("DNS:push.veza.test");
    const ofPostgres = await makeCertificates("DNS:db.veza.test");
    const { host } = await readyHost({
      name: "push.veza.test",
      certificate: `${live}/fullchain.pem`,
      key: `${live}/privkey.pem`,
      ca: "/etc/ssl/certs/own.pem",
    });
    await host.write("etc/ssl/certs/own.pem", await readFile(ofPostgres.ca, "utf8"));
    await host.write("usr/local/share/ca-certificates/push.crt", await readFile(ca, "utf8"));
    await host.run("update-ca-certificates");
    await host.write(`${live.slice(1)}/fullchain.pem`, await readFile(cert, "utf8"));
    await host.write(`${live.slice(1)}/privkey.pem`, await readFile(key, "utf8"), 0o600);
    await host.write("etc/hosts", "127.0.0.1 localhost push.veza.test\n");
    const site = "etc/nginx/sites-enabled/zz-veza-ledger-metrics.conf";
    // nginx refuses a site that it cannot run: what was there before stays.
    await host.run("sed -i 's/if (/iff (/' config/nginx/veza-ledger-metrics.conf");
    const refused = await host.run("./setup", "admin\n");
    expect([refused.exitCode, refused.output]).toEqual([1, expect.stringContaining("so it is removed again")]);
    expect(await host.text(site)).toBe("");
    await host.run("sed -i 's/iff (/if (/' config/nginx/veza-ledger-metrics.conf");
    const { exitCode, output } = await host.run("./setup", "\n");
    expect([exitCode, output], output).toEqual([0, expect.stringContaining("to https://push.veza.test/")]);
    expect(await host.text("etc/letsencrypt/renewal-hooks/deploy/veza-ledger-metrics")).toBe(
      "#!/bin/sh\nsystemctl reload nginx\n",
    );
    expect(await host.text(site)).toContain("server_name push.veza.test;");
    // A site that was edited is kept, and a name that it lacks is named.
    const edited = (await host.text(site)).replace("location / {", "location / { # Mine.").replace("privkey", "old");
    await host.run(`cp ${live}/privkey.pem ${live}/old.pem`);
    await host.write(site, edited);
    const kept = await host.run("./setup", "\n");
    expect([kept.exitCode, kept.output], kept.output).toEqual([
      0,
      expect.stringContaining(`and your names agree on \`ssl_certificate_key ${live}/old.pem;\``),
    ]);
    expect(await host.text(site)).toBe(edited);
    // A certificate that has gone is a wrong name, and not kept.
    await host.run(`rm ${live}/fullchain.pem`);
    expect(await host.run("./setup", "\n")).toMatchObject({
      exitCode: 1,
      output: expect.stringMatching(/: certificate names no file/),
    });
  });

  it("takes no answer from the sites of a host in use, and gives back each, and no page from its Alertmanager", async () => {
    await port443();
    const [ours, shop] = await Promise.all([makeCertificates("DNS:push.veza.test"), makeCertificates("DNS:shop.test")]);
    const files = { certificate: "/etc/ssl/certs/push.pem", key: "/etc/ssl/private/push.key" };
    const { host } = await readyHost({ name: "push.veza.test", ...files });
    for (const [file, source] of [
      [files.certificate, ours.cert],
      [files.key, ours.key],
      ["/usr/local/share/ca-certificates/authority.crt", ours.ca],
      ["/etc/ssl/shop.pem", shop.cert],
      ["/etc/ssl/shop.key", shop.key],
    ]) {
      await host.write(file?.slice(1) ?? "", await readFile(source ?? "", "utf8"));
    }
    await host.write("etc/hosts", "127.0.0.1 localhost push.veza.test\n");
    const certificate = "ssl_certificate /etc/ssl/shop.pem; ssl_certificate_key /etc/ssl/shop.key;";
    const site = (says: string) =>
      `server { listen 443 ssl; server_name ${says}; ${certificate} return 200 ${says}; }\n`;
    await host.write("etc/nginx/sites-enabled/shop", site("shop.test") + site("other.test"));
    const route = "etc/prometheus/alertmanager.yml";
    const mails = { name: "team-x-mails", webhook_configs: [{ url: "http://127.0.0.1:9/" }] };
    await host.write(route, JSON.stringify({ route: { receiver: mails.name }, receivers: [mails] }));
    await host.write("etc/prometheus/prometheus.yml", "scrape_configs: []\n");
    await host.run("update-ca-certificates; nginx");
    const filesOf = async () =>
      (await host.run("find /etc/nginx /etc/prometheus -type f -exec md5sum {} + | sort", "", "/")).output;
    const answers = async () =>
      (
        await host.run(
          `for name in shop.test other.test none.test 127.0.0.1; do
        curl -sk --resolve "$name:443:127.0.0.1" "https://$name/"; echo " $name"; done`,
          "",
          "/",
        )
      ).output;
    const [before, filesBefore] = [await answers(), await filesOf()];
    expect(before).toBe("shop.test shop.test\nother.test other.test\nshop.test none.test\nshop.test 127.0.0.1\n");

    // A site that nginx reads after all folders: ours would be read first.
    const nginx = "etc/nginx/nginx.conf";
    const asShipped = await host.text(nginx);
    const inMain = asShipped.replace(/(include \S*sites-enabled\S*;)/, `$1\n${site("shop.test")}`);
    await host.run("rm /etc/nginx/sites-enabled/shop");
    await host.write(nginx, inMain);
    const told = await host.run("./setup", "admin\n");
    expect([told.exitCode, told.output]).toEqual([
      1,
      expect.stringContaining("Add `default_server` to `listen 443` in /etc/nginx/nginx.conf"),
    ]);
    expect((await host.run("find /etc/nginx -name '*veza*'")).output).toBe("");
    await host.write(nginx, inMain.replace("listen 443 ssl", "listen 443 ssl default_server"));
    // A reload takes effect when it has been answered.
    await host.write(
      "usr/local/sbin/nginx",
      '#!/bin/sh\ncase $1 in -s) (sleep 0.9; /usr/sbin/nginx "$@") & ;; *) exec /usr/sbin/nginx "$@" ;; esac\n',
      0o755,
    );
    const after = await host.run("./setup", "\n");
    expect([after.exitCode, await answers()], after.output).toEqual([0, before.replace("other.test o", "shop.test o")]);
    await host.run("rm /usr/local/sbin/nginx");
    await host.write(nginx, asShipped);
    await host.write("etc/nginx/sites-enabled/shop", site("shop.test") + site("other.test"));
    await host.run("rm /etc/nginx/sites-enabled/zz-veza-ledger-metrics.conf");

    const { exitCode, output } = await host.run("./setup", "\n");
    expect([exitCode, output], output).toEqual([0, expect.stringContaining("to https://push.veza.test/")]);
    expect(await answers()).toBe(before);
    expect(output).toContain("A page goes to: team-x-mails");
    for (const said of [output, (await host.run("./setup rules")).output]) {
      expect(said).toContain("  - Give Alertmanager the route: ");
    }
    expect(output).toMatch(/ - Have a firewall close .*:80\b/); // Debian's welcome page.
    expect(await host.run("./setup remove", "yes\nyes\nadmin\n")).toMatchObject({ exitCode: 0 });
    expect([await answers(), await filesOf()]).toEqual([before, filesBefore]);
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
      "https://git.internal/veza/blob/main/docs/",
    );
    expect(await host.text(`${unpacked.slice(1)}/dashboard.json`)).toContain("https://git.internal/");
    await host.write(route, shipped.replaceAll("127.0.0.1:9999", "pager.internal"));
    await host.name({ stage: "" });
    const filledIn = (await host.run("./setup rules")).output;
    expect(filledIn).toContain("A page goes to: pages");
    expect(filledIn).not.toMatch(/Replace the examples|name it beside/);
    // An older Prometheus keeps the rules that it has.
    await host.name({ repository: "https://moved.internal" });
    await host.run("mv /usr/local/bin/promtool /root; ln -s /bin/false /usr/local/bin/promtool");
    expect(await host.run("./setup rules")).toMatchObject({
      exitCode: 1,
      output: expect.stringContaining("Prometheus does not take the rules"),
    });
    expect(await host.text("etc/prometheus/veza-ledger-metrics.yml")).not.toContain("moved.internal");
    await host.run("mv /root/promtool /usr/local/bin");
    await host.write(route, "route: { receiver: nobody }\n");
    expect(await host.run("./setup rules")).toMatchObject({
      exitCode: 1,
      output: expect.stringContaining(`Alertmanager does not take /${route}: correct`),
    });
  });
});
