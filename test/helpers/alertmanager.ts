import { mkdtemp, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort } from "../../local/ports.ts";
import { type Running, startServer } from "../../local/programs.ts";
import { findProgram } from "./find-program.ts";

/**
 * Starts a real Alertmanager without a cluster on 127.0.0.1, from `preferredPort` on, with this configuration (YAML).
 */
export async function startAlertmanager(preferredPort: number, configuration: string): Promise<Running> {
  const found = await findProgram("alertmanager");
  const port = await freePort(preferredPort);
  const folder = await mkdtemp(path.join(tmpdir().length < 19 ? tmpdir() : "/tmp", "veza-am-"));
  const file = found.root ? await relocateAlertmanager(found.file, found.root, folder) : found.file;
  await writeFile(path.join(folder, "alertmanager.yml"), configuration);
  const args = [
    `--web.listen-address=127.0.0.1:${port}`,
    "--cluster.listen-address=",
    `--config.file=${folder}/alertmanager.yml`,
    `--storage.path=${folder}/data`,
  ];
  return startServer(file, args, `http://127.0.0.1:${port}`, "/-/ready", { folder });
}

/**
 * Writes a copy of Debian's Alertmanager into `folder`, for a package that is unpacked and not installed. The program
 * opens its templates under /usr/share and has no flag for that: the copy has a link of the same length in that place.
 */
async function relocateAlertmanager(file: string, root: string, folder: string): Promise<string> {
  const builtIn = "/usr/share/prometheus/alertmanager";
  const link = path.join(folder, "t".repeat(builtIn.length - folder.length - 1));
  await symlink(path.join(root, builtIn), link);
  const program = await readFile(file);
  for (let at = program.indexOf(builtIn); at >= 0; at = program.indexOf(builtIn, at)) program.write(link, at);
  const copy = path.join(folder, "alertmanager");
  await writeFile(copy, program, { mode: 0o755 });
  return copy;
}
