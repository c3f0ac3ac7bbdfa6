// ./setup and the servers around the service: nginx, Prometheus and Alertmanager.
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { makeCertificates } from "../helpers/certificates.ts";
import { needsDebian, readyHost, unpacked } from "../helpers/debian.ts";

describe("./setup", needsDebian, () => {
  it("gives nginx the name, the port and the certificate, which certbot's hook lets it read again", async () => {
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

  /** A host with a certificate for push.veza.test, and one for its neighbour shop.test, which it trusts. */
  async function hostWithCertificates() {
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
    await host.run("update-ca-certificates");
    /** What a neighbour's site answers. */
    const answer = async () =>
      (await host.run("curl -sk --resolve shop.test:443:127.0.0.1 https://shop.test/", "", "/")).output;
    return { host, files, answer };
  }
  const shop = "ssl_certificate /etc/ssl/shop.pem; ssl_certificate_key /etc/ssl/shop.key;";
  const site = "etc/nginx/sites-enabled/zz-veza-ledger-metrics.conf";

  it("makes no site where a stream has the port, so that nginx starts again, and lets its owner pass the name on", async () => {
    const { host, files, answer } = await hostWithCertificates();
    const stream = "stream { server { listen 443; proxy_pass 127.0.0.1:8443; } }\n";
    await host.write("etc/nginx/nginx.conf", `${await host.text("etc/nginx/nginx.conf")}${stream}`);
    const neighbour = `server { listen 127.0.0.1:8443 ssl; server_name shop.test; ${shop} return 200 shop; }\n`;
    await host.write("etc/nginx/sites-enabled/shop", neighbour);
    const restarted = async () => [
      (await host.run("nginx -s stop; sleep 0.5; nginx", "", "/")).exitCode,
      await answer(),
    ];
    await host.run("nginx");
    expect(await restarted()).toEqual([0, "shop"]);
    const stopped = await host.run("./setup", "admin\n");
    expect([stopped.exitCode, stopped.output], stopped.output).toEqual([
      1,
      expect.stringContaining("No site was made: nginx has port 443 in a `stream`, in /etc/nginx/nginx.conf"),
    ]);
    expect([await host.text(site), await restarted()]).toEqual(["", [0, "shop"]]);
    // As that says.
    await host.name({ certificate: "", key: "" });
    const passedOn = `server { listen 127.0.0.1:8443 ssl; server_name push.veza.test; ssl_certificate ${files.certificate};
      ssl_certificate_key ${files.key}; location / { proxy_pass http://127.0.0.1:8080; } }\n`;
    await host.write("etc/nginx/sites-enabled/shop", neighbour + passedOn);
    await host.run("nginx -s reload; sleep 0.5");
    const done = await host.run("./setup", "\n");
    expect([done.exitCode, done.output], done.output).toEqual([
      0,
      expect.stringContaining("to https://push.veza.test/"),
    ]);
    expect(await restarted()).toEqual([0, "shop"]);
  });

  it("takes its site back where another goes on to answer in its place", async () => {
    const { host, answer } = await hostWithCertificates();
    await host.write("etc/nginx/sites-enabled/a", `server { listen 443 ssl; ${shop} return 200 shop; }\n`);
    await host.run("nginx");
    // A reload that nginx could not do is told in its log alone.
    await host.write("usr/local/sbin/nginx", '#!/bin/sh\n[ "$1" = -s ] || exec /usr/sbin/nginx "$@"\n', 0o755);
    const { exitCode, output } = await host.run("./setup", "admin\n");
    expect([exitCode, output], output).toEqual([1, expect.stringContaining(`Removed again: /${site}. Something else`)]);
    expect([await host.text(site), await answer()]).toEqual(["", "shop"]);
    // A cause that is elsewhere, such as DNS, takes no site away.
    await host.run("rm /usr/local/sbin/nginx");
    await host.write("etc/hosts", "127.0.0.1 localhost\n127.0.0.9 push.veza.test\n");
    await host.run(
      `sed -i 's/listen 443/listen 127.0.0.1:443/' /etc/nginx/sites-enabled/a; nginx -s stop; sleep 0.5; nginx`,
    );
    const unreached = await host.run("./setup", "\n");
    expect([unreached.exitCode, unreached.output]).toEqual([1, expect.stringContaining("the cause is in DNS, a fire")]);
    expect(await host.text(site)).toContain("listen 127.0.0.1:443 ssl;");
  });

  it("takes no answer from the sites of a host in use, and gives back each, and no page from its Alertmanager", async () => {
    const { host } = await hostWithCertificates();
    const siteOf = (says: string) => `server { listen 443 ssl; server_name ${says}; ${shop} return 200 ${says}; }\n`;
    await host.write("etc/nginx/sites-enabled/shop", siteOf("shop.test") + siteOf("other.test"));
    const route = "etc/prometheus/alertmanager.yml";
    const mails = { name: "team-x-mails", webhook_configs: [{ url: "http://127.0.0.1:9/" }] };
    await host.write(route, JSON.stringify({ route: { receiver: mails.name }, receivers: [mails] }));
    await host.write("etc/prometheus/prometheus.yml", "scrape_configs: []\n");
    await host.run("nginx");
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
    const inMain = asShipped.replace(/(include \S*sites-enabled\S*;)/, `$1\n${siteOf("shop.test")}`);
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
    await host.write("etc/nginx/sites-enabled/shop", siteOf("shop.test") + siteOf("other.test"));
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
    const { host } = await readyHost({ servers: undefined, stage: "production" });
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
    expect(output).toMatch(/Installed: prometheus prometheus-pushgateway$/m); // Alertmanager is here by now.
    await host.name({ servers: "prometheus-alertmanager" }); // Each run waits for Prometheus, which is none here.
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
