// ./setup, broken off in each step, by Ctrl-C and by a full disk, and run again.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { makeCertificates } from "../helpers/certificates.ts";
import { debianHost, needsDebian, readyHost, unpacked } from "../helpers/debian.ts";
import { rightNames } from "../helpers/names-of-host.ts";

/** Takes a program away, with what writes its arguments down. */
const hideSs = "mkdir /tmp/no; mv /usr/bin/ss /tmp/no/real; mv /usr/local/bin/ss /tmp/no/watched";
const showSs = "mv /tmp/no/real /usr/bin/ss; mv /tmp/no/watched /usr/local/bin/ss; rmdir /tmp/no";

describe("./setup goes on", needsDebian, () => {
  it("after Ctrl-C in each step", async () => {
    const { host } = await readyHost({ servers: "prometheus-pushgateway" });
    const breakOff = async (pattern: RegExp) => {
      const setup = host.start("exec ./setup", "admin\nyes\n");
      await setup.printed(pattern);
      process.kill(-Number(setup.child.pid), "SIGINT");
      return setup.exited;
    };
    await host.run(`${hideSs}; touch /run/fake/apt-waits`);
    const programs = await breakOff(/programs\n[\s\S]*Installs: iproute2\n[\s\S]*waits/);
    expect([programs.exitCode, programs.output]).toEqual([130, expect.not.stringContaining("servers\n")]);
    await host.run(showSs);
    const servers = await breakOff(/servers\n[\s\S]*waits/);
    expect([servers.exitCode, servers.output]).toEqual([130, expect.not.stringContaining("settings\n")]);
    await host.run("rm /run/fake/apt-waits");
    for (const name of ["settings", "database", "look", "service", "receiver", "rules"]) {
      await breakOff(new RegExp(`^${name}$`, "m"));
    }
    const whole = await host.run("./setup", "admin\nyes\n");
    expect([whole.exitCode, whole.output.match(/✗.*/g)], whole.output).toEqual([0, null]);
    // A package of somebody else's, on a full disk.
    await host.name({ servers: "" });
    await host.run("touch /run/fake/half /run/fake/no-room");
    const again = await host.run("./setup", "admin\nyes\n");
    expect([again.exitCode, again.output]).toEqual([0, expect.stringContaining("Some packages of this host are half")]);
  });

  it("after a full disk in each step", async () => {
    const { database } = await readyHost();
    const host = await debianHost(60);
    await host.name(rightNames(database));
    const fill = "cat /dev/zero >/full 2>/dev/null";
    /** Runs ./setup, which has to stop in a step with this sentence; then there is room again. */
    const stops = async (step: string, says: RegExp, room = "rm -f /full") => {
      const { exitCode, output } = await host.run("./setup", "admin\nyes\n");
      expect([exitCode, output], output).toEqual([1, expect.stringContaining(`✗ The step ${step} has failed.`)]);
      expect(output.split(new RegExp(`^${step}$`, "m"))[1]).toMatch(says);
      await host.run(room);
    };
    const cannot = /cannot be written|No space left/;
    // apt-get itself says what is missing: it has a stand-in here.
    await host.run(`${hideSs}; touch /run/fake/no-room`);
    await stops("programs", /apt-get install .* iproute2/, `${showSs}; rm /run/fake/no-room`);
    await host.name({ servers: "prometheus-pushgateway" });
    await host.run(fill);
    await stops("servers", cannot);
    expect((await host.run("ls /etc/default/*push* /run/fake/half")).output).not.toMatch(/^\//m);
    await host.name({ servers: "" });
    await host.run(fill);
    await stops("settings", cannot);
    expect((await host.run("cd /etc && ls veza*")).output).toBe("veza-ledger-metrics.yml\n");
    // The disk fills up while the settings are tried.
    await host.write("usr/local/sbin/systemd-run", `#!/bin/sh\n${fill}\nexit 0\n`, 0o755);
    await stops("service", /No space left/, "rm /full /usr/local/sbin/systemd-run; touch /run/fake/fill-at-tick");
    expect((await host.run("find /etc/systemd/system -name 'veza*'; ls /opt")).output).toBe(
      `${path.basename(unpacked)}\n`,
    );
    // And while the first tick is waited for: what comes next is the site, or the rules where there is none.
    const { ca, key, cert } = await makeCertificates("DNS:push.veza.test");
    await host.write("usr/local/share/ca-certificates/authority.crt", await readFile(ca, "utf8"));
    await host.write("etc/ssl/certs/push.pem", await readFile(cert, "utf8"));
    await host.write("etc/ssl/private/push.key", await readFile(key, "utf8"), 0o600);
    await host.write("etc/hosts", "127.0.0.1 localhost push.veza.test\n");
    const site = { name: "push.veza.test", certificate: "/etc/ssl/certs/push.pem", key: "/etc/ssl/private/push.key" };
    await host.name(site);
    await stops("receiver", cannot);
    expect((await host.run("find /etc/nginx -name '*veza*'")).output).toBe("");
    await host.name({ name: "", certificate: "", key: "" });
    await stops("rules", /cannot be written/, "rm /full /run/fake/fill-at-tick; update-ca-certificates");
    expect((await host.run("ls -A /etc/prometheus; ls *.new")).output).toMatch(/^ls: /);
    await host.name(site);
    const done = await host.run("./setup", "admin\n");
    expect([done.exitCode, done.output.match(/✗.*/g)], done.output).toEqual([0, null]);
  });
});
