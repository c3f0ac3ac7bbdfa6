import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, readFile, rmdir, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { unzipSync } from "fflate";
import { vi } from "vitest";
import type { FunctionName } from "../../lib/settings/settings.ts";
import { projectFolder } from "./processes.ts";
import { newFolder } from "./temporary-folder.ts";

/** Sets a strict umask, and ends with the folder, which the end of the tests deletes: packaging would wait for ever. */
const preloaded = `import { existsSync } from "node:fs";
  process.umask(0o077);
  setInterval(() => existsSync("package.json") || process.exit(1), 200).unref();`;

/** Resources of the generated CloudFormation by their logical ids. */
export type Resources = Record<string, { Type: string; Properties: Record<string, unknown> }>;

/** What Lambda is told about a function. */
interface LambdaProperties {
  Handler: string;
  /** In seconds. */
  Timeout: number;
  /** In MiB. */
  MemorySize: number;
  Environment: { Variables: Record<string, string> };
}

export interface Packaged {
  folder: string;
  /** The file with the generated CloudFormation. */
  template: string;
  resources: Resources;
}

const parts = ["handlers", "lib", "deploy", "setup", "commands", "package.json", "tsconfig.json", "serverless.yml"];

/**
 * Runs `serverless package --stage …` in a copy of the project, as a deployer without AWS credentials and with a strict
 * umask would. Its stages.yml has these params for the stage, and no alarm notifies anybody unless they say so.
 */
export async function packageService(stage: string, params: object = {}): Promise<Packaged> {
  const folder = await newFolder();
  const service = path.join(folder, "service");
  const copy = (part: string) => cp(path.join(projectFolder, part), path.join(service, part), { recursive: true });
  await Promise.all(parts.map(copy));
  await symlink(path.join(projectFolder, "node_modules"), path.join(service, "node_modules"));
  await writeFile(path.join(service, "stages.yml"), JSON.stringify({ [stage]: { alarmTopicArn: "none", ...params } }));
  await runServerless(service, ["package", "--stage", stage]);
  const made = path.join(service, ".serverless");
  const template = path.join(made, "cloudformation-template-update-stack.json");
  return { folder: made, template, resources: JSON.parse(await readFile(template, "utf8")).Resources };
}

/**
 * Runs a command of Serverless in a copy of the project with these variables, and none of AWS' beyond. Its umask is
 * strict.
 */
export async function runServerless(service: string, args: string[], environment: Record<string, string> = {}) {
  const withoutAws = Object.entries(process.env).filter(([name]) => !name.startsWith("AWS_"));
  const folder = path.dirname(service);
  const temporary = path.join(folder, "temporary");
  await mkdir(temporary, { recursive: true });
  const command = path.join(projectFolder, "node_modules/.bin/serverless");
  const first = `--import=data:text/javascript,${encodeURIComponent(preloaded)}`;
  await promisify(execFile)(process.execPath, [first, command, ...args], {
    cwd: service,
    timeout: 200_000,
    env: { ...Object.fromEntries(withoutAws), HOME: folder, TMPDIR: temporary, ...environment },
  });
}

/** No file of the project has the name of this stage: a stage that is written there comes to light. */
export const stage = "shared";

/** The package with the default params: the first who needs it makes it, for all tests of a run. Leave it as it is. */
export async function defaultPackage(): Promise<Packaged> {
  const made = path.join(tmpdir(), "packaged.json");
  const lock = `${made}.lock`;
  await vi.waitFor(() => mkdir(lock), { timeout: 250_000, interval: 100 });
  try {
    if (!existsSync(made)) await writeFile(made, JSON.stringify(await packageService(stage)));
    return JSON.parse(await readFile(made, "utf8"));
  } finally {
    await rmdir(lock);
  }
}

/** The properties of a function in the generated CloudFormation. */
export function functionIn({ resources }: Packaged, name: FunctionName): LambdaProperties {
  const id = { sampler: "SamplerLambdaFunction", receiver: "ReceiverLambdaFunction" }[name];
  return resources[id]?.Properties as unknown as LambdaProperties;
}

/** Unpacks one function's archive, outside the project: no file of the project is on its path. */
export async function unzip(packaged: Packaged, name: FunctionName): Promise<string> {
  const folder = await newFolder();
  const files = unzipSync(await readFile(path.join(packaged.folder, `${name}.zip`)));
  for (const [file, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, file)), { recursive: true });
    await writeFile(path.join(folder, file), content);
  }
  return folder;
}
