// The receiver's site as ./setup makes it from the names as they are shipped, with a real nginx. Port 443, which needs
// root, is another one here, and /etc is in a folder.
import { cp, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { freePort } from "../../local/ports.ts";
import { makeCertificates } from "../helpers/certificates.ts";
import { findProgram } from "../helpers/find-program.ts";
import { filledIn, rightNames, shippedNames } from "../helpers/names-of-host.ts";
import { needs } from "../helpers/needs.ts";
import { runProgram } from "../helpers/processes.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

it("passes deliveries on to the port that the service has by default", await needs("bash", "curl"), async () => {
  const [root, { file: nginx }, port] = [await newFolder(), await findProgram("nginx"), await freePort()];
  const { cert: certificate, key } = await makeCertificates("DNS:push.veza.test");
  const here = (text: string) => text.replaceAll(/(?<![\w.])\/etc\/(nginx|veza)/g, `${root}/etc/$1`);
  const folder = path.join(root, "project");
  for (const name of ["lib", "commands", "config", "setup"])
    await cp(name, path.join(folder, name), { recursive: true });
  for (const name of ["package.json", "node_modules"]) await symlink(path.resolve(name), path.join(folder, name));
  const changed = ["config/nginx/veza-ledger-metrics.conf"];
  for (const name of await readdir("setup/host")) changed.push(`setup/host/${name}`);
  for (const name of changed) {
    const text = await readFile(name, "utf8");
    await writeFile(path.join(folder, name), here(text).replaceAll(/\b443\b/g, String(port)));
  }
  for (const name of ["bin", "project/bin", "etc/nginx/sites"]) await mkdir(path.join(root, name), { recursive: true });
  const program = (name: string, script: string) =>
    writeFile(path.join(root, name), `#!/bin/bash\n${script}\n`, { mode: 0o755 });
  await program("project/bin/veza-ledger-metrics", `exec '${process.execPath}' setup/host.ts "\${@:2}"`);
  await program("bin/ss", ":"); // Nothing else listens.
  await program("bin/nginx", `exec '${nginx}' -e '${root}/error.log' -p '${root}' -c etc/nginx/nginx.conf "$@"`);
  await program(
    "bin/systemctl",
    `[ "$*" = "reload-or-restart nginx" ] && if [ -s '${root}/pid' ]; then nginx -s reload; else nginx; fi`,
  );
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${root}/${name};`,
  );
  await writeFile(
    path.join(root, "etc/nginx/nginx.conf"),
    `pid ${root}/pid;
events {}
http {
  log_format passed '$request_method $upstream_addr';
  access_log ${root}/access.log passed;
  ${temporary.join(" ")}
  include ${root}/etc/nginx/sites/*;
}
`,
  );
  const named = { ...rightNames("127.0.0.1:5432/ledger"), name: "push.veza.test", certificate, key };
  await writeFile(path.join(root, "etc/veza-ledger-metrics.yml"), filledIn(await shippedNames(), named));
  const run = (line: string) =>
    runProgram(
      "bash",
      [
        "-c",
        `cd '${folder}'; for each in names servers steps; do . setup/host/$each.sh; done
say() { echo "$*"; }; ${line}`,
      ],
      { PATH: `${root}/bin:${process.env.PATH}` },
    ).exited;
  onTestFinished(async () => void (await run(`nginx -s stop; while [ -e '${root}/pid' ]; do sleep 0.05; done`)));

  const site = path.join(root, "etc/nginx/sites/zz-veza-ledger-metrics.conf");
  const made = await run("read_names names && write_site");
  expect(made, made.output).toEqual({ exitCode: 0, output: `Made: ${site}\n` });
  await run(`curl -sk --resolve push.veza.test:${port}:127.0.0.1 -d '' https://push.veza.test:${port}/`);
  await expect.poll(() => readFile(path.join(root, "access.log"), "utf8")).toBe("POST 127.0.0.1:8080\n");
  // Again, it has nothing to correct.
  expect(await run("read_names names && write_site")).toEqual({ exitCode: 0, output: `Kept: ${site}\n` });
});
