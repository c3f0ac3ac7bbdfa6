// `npm ci` runs this last, on the Node that npm runs on. It links node_modules/.bin/node, which npm scripts and npx
// find first, to the Node 24 that came as a package. npm itself makes that link only from 11.7 on: the packages of both
// platforms have a command of this name.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const project = fileURLToPath(new URL("..", import.meta.url));
const packageName = `node-${process.platform}-${process.arch}`;
const file = `node_modules/${packageName}/bin/node`;
const link = path.join(project, "node_modules/.bin/node");

/** What to do where the package's Node does not run. */
function remedy() {
  const { optionalDependencies } = JSON.parse(readFileSync(path.join(project, "package.json"), "utf8"));
  if (!(packageName in optionalDependencies)) {
    return `there is no package of it for ${process.platform} on ${process.arch}, so install Node 24 yourself`;
  }
  if (existsSync(path.join(project, file))) {
    return `${file} does not start here, so run "npm ci" again, or without a current glibc install Node 24 yourself`;
  }
  return `npm has not fetched the package ${packageName}, so see that the registry answers, and run "npm ci" again`;
}

// A link to a Node that does not start would hide one on the PATH.
rmSync(link, { force: true });
if (/^v24\./.test(String(spawnSync(path.join(project, file), ["--version"]).stdout))) {
  mkdirSync(path.dirname(link), { recursive: true });
  symlinkSync(`../${packageName}/bin/node`, link);
} else if (Number(process.versions.node.split(".")[0]) < 24) {
  console.error(`This needs Node 24, and npm runs on Node ${process.versions.node}: ${remedy()}.`);
  process.exit(1);
}
