// The sentence that an older Node gets, and where.
import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";

const as = (version: string) =>
  `data:text/javascript,Object.defineProperty(process, "versions", { value: { node: "${version}" } })`;

/** Runs a command that it guards, on a Node that says it has this version. */
function start(version: string) {
  const args = ["--import", as(version), "--import", "./commands/needs-node.js", "--eval", "console.log('started')"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  return { status, stdout, stderr };
}

it("answers an older Node with one sentence", () => {
  expect(start("22.23.1")).toEqual({
    status: 1,
    stdout: "",
    stderr:
      'This needs Node 24, and runs on Node 22.23.1. Run "npm ci": on Linux it brings Node 24 along. ' +
      "Elsewhere, install that first.\n",
  });
  for (const version of ["24.0.0", "26.1.0"]) {
    expect(start(version)).toEqual({ status: 0, stdout: "started\n", stderr: "" });
  }
});
