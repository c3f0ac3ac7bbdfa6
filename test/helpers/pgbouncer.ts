import { execFile } from "node:child_process";
import { chmod, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { onTestFinished } from "vitest";
import { freePort } from "../../local/ports.ts";
import { supervise } from "../../local/supervise.ts";
import { findProgram } from "./find-program.ts";
import { newFolder } from "./temporary-folder.ts";

/**
 * Starts a real PgBouncer on 127.0.0.1 before the server of this connection string; it ends with the test. It keeps
 * so many server connections for each login and database. `passwords` are of the logins that it lets in. Resolves to
 * its port.
 */
export async function startPgbouncer(
  serverUrl: string,
  passwords: Record<string, string>,
  { serverConnections = 2, statsUser = "" } = {},
): Promise<number> {
  const { file, root } = await findProgram("pgbouncer");
  const folder = await newFolder();
  await chmod(folder, 0o755); // It refuses to run as root, and reads its files as nobody.
  const port = await freePort();
  const asNobody = process.getuid?.() === 0 ? ["-u", "nobody"] : [];
  const users = Object.entries(passwords).map(([login, password]) => `"${login}" "${password}"\n`);
  await writeFile(path.join(folder, "users"), users.join(""), { mode: 0o600 });
  if (asNobody.length > 0) await promisify(execFile)("chown", ["nobody", path.join(folder, "users")]);
  await writeFile(
    path.join(folder, "pgbouncer.ini"),
    `[databases]
* = host=127.0.0.1 port=${new URL(serverUrl).port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${folder}/users
pool_mode = transaction
default_pool_size = ${serverConnections}
stats_users = ${statsUser}
server_login_retry = 1
`,
    { mode: 0o644 },
  );
  const libraries = root ? path.join(root, "usr/lib") : "";
  const triplet = root && (await readdir(libraries)).find((name) => name.includes("-linux-"));
  const bouncer = await supervise(file, [...asNobody, path.join(folder, "pgbouncer.ini")], {
    env: { ...process.env, ...(triplet && { LD_LIBRARY_PATH: path.join(libraries, triplet) }) },
    endSignal: "SIGINT",
    folder,
  });
  onTestFinished(() => bouncer.end("SIGKILL"));
  for (const until = Date.now() + 60_000; Date.now() < until && bouncer.exitCode() === undefined; await sleep(20)) {
    if (bouncer.output().includes("process up")) return port; // It listens by then.
  }
  throw new Error(`PgBouncer did not start:\n${bouncer.output()}`);
}
