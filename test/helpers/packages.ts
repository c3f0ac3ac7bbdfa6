import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { unzipSync } from "fflate";
import { projectFolder } from "./processes.ts";

const run = promisify(execFile);

/** Resources of the generated CloudFormation by their logical ids. */
export type Resources = Record<string, { Type: string; Properties: Record<string, unknown> }>;

export interface Packaged {
  folder: string;
  resources: Resources;
}

/** Runs `serverless package` as a deployer without AWS credentials would, into this folder. */
export async function packageService(folder: string, args: string[]): Promise<Packaged> {
  const withoutAws = Object.entries(process.env).filter(([name]) => !name.startsWith("AWS_"));
  const command = path.join(projectFolder, "node_modules/.bin/serverless");
  await run(command, ["package", "--package", folder, ...args], {
    cwd: projectFolder,
    env: { ...Object.fromEntries(withoutAws), HOME: folder },
  });
  const template = await readFile(path.join(folder, "cloudformation-template-update-stack.json"), "utf8");
  return { folder, resources: JSON.parse(template).Resources };
}

/** Unpacks one function's archive, outside the project: no file of the project is on its path. */
export async function unzip(packaged: Packaged, name: "sampler" | "receiver"): Promise<string> {
  const folder = path.join(packaged.folder, `unzipped-${name}`);
  const files = unzipSync(await readFile(path.join(packaged.folder, `${name}.zip`)));
  for (const [file, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, file)), { recursive: true });
    await writeFile(path.join(folder, file), content);
  }
  return folder;
}
