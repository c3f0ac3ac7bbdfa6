// npm run test:docs: the command by which CONTRIBUTING.md makes a release.
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { copyProject } from "../helpers/copy.ts";

it("a release is written wherever the version stands, and refused until the changelog begins with it", async () => {
  const folder = await copyProject();
  const { PATH, HOME } = process.env;
  const run = (file: string, ...args: string[]) =>
    promisify(execFile)(file, args, { cwd: folder, env: { PATH, HOME } }).catch((error) => error);
  const release = () => run("npm", "run", "release", "98.7.6");
  expect((await release()).stdout).toContain("the changelog begins with the version of package.json");
  const changelog = path.join(folder, "CHANGELOG.md");
  const text = await readFile(changelog, "utf8");
  await writeFile(changelog, text.replace("\n## ", "\n## 98.7.6 - 2031-01-31\n\nNew.\n\n## "));
  expect((await release()).code).toBeUndefined();
  const { stdout } = await run("grep", "-rlF", "98.7.6", "package.json", "package-lock.json", "clients");
  expect(stdout.trim().split("\n").sort()).toEqual([
    "clients/go/README.md",
    "clients/go/example/go.mod",
    "clients/go/ledgermetrics/client.go",
    "clients/go/test/go.mod",
    "package-lock.json",
    "package.json",
  ]);
  const archives = await run("grep", "-rhoE", "veza-ledger-metrics-[0-9.]+[0-9]", "docs", "--exclude=upgrade.md");
  expect(new Set(archives.stdout.trim().split("\n"))).toEqual(new Set(["veza-ledger-metrics-98.7.6"]));
});
