import { execFile } from "node:child_process";
import { cp, readFile, symlink } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { projectFolder } from "./processes.ts";
import { newFolder } from "./temporary-folder.ts";

/** A copy of the project, as a clone after `npm ci`. */
export async function copyProject(): Promise<string> {
  const folder = await newFolder();
  await copyAsCloned(folder);
  await symlink(path.join(projectFolder, "node_modules"), path.join(folder, "node_modules"));
  return folder;
}

/** Copies the project into a folder, as a clone before `npm ci`, but with what was fetched from Debian. */
export async function copyAsCloned(folder: string): Promise<void> {
  const left = ["node_modules", ".cache", ".git", ".serverless", "dist"];
  const isCopied = (file: string) => !left.includes(path.relative(projectFolder, file));
  await cp(projectFolder, folder, { recursive: true, filter: isCopied });
  await symlink(path.join(projectFolder, ".cache"), path.join(folder, ".cache"));
}

interface Report {
  testResults: {
    status: string;
    message: string;
    assertionResults: { status: string; fullName: string; failureMessages: string[] }[];
  }[];
}

/** Runs vitest in a copy. Resolves to how many tests passed, and to titles and messages of all that failed. */
export async function runTests(folder: string, which: string[]): Promise<{ passed: number; failures: string[] }> {
  const report = path.join(folder, "report.json");
  const args = [...which, "--run", "--reporter=json", `--outputFile=${report}`];
  const { PATH, HOME } = process.env; // Without what this vitest tells its workers.
  const options = { cwd: folder, env: { PATH, HOME }, maxBuffer: 64 * 1024 * 1024 };
  await promisify(execFile)(process.execPath, ["node_modules/vitest/vitest.mjs", ...args], options).catch(() => {});
  const { testResults } = JSON.parse(await readFile(report, "utf8")) as Report;
  const all = testResults.flatMap(({ assertionResults }) => assertionResults);
  const failed = all.filter(({ status }) => status === "failed");
  return {
    passed: all.filter(({ status }) => status === "passed").length,
    failures: [
      ...failed.map(({ fullName, failureMessages }) => `${fullName}\n${failureMessages.join("\n")}`),
      // A file without results: its tests could not be collected, or their set-up failed.
      ...testResults.filter(({ status, message }) => status === "failed" && message).map(({ message }) => message),
    ],
  };
}
