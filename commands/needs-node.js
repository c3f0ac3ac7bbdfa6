// Every npm script that runs TypeScript loads this file first. Without it, an older Node would complain about the
// extension .ts, and missing packages would be a stack trace.
import { existsSync } from "node:fs";

const { node } = process.versions;
if (!existsSync(new URL("../node_modules/.package-lock.json", import.meta.url))) {
  // What npm writes last.
  console.error('The packages in node_modules are missing or incomplete: run "npm ci" until it succeeds.');
  process.exit(1);
}
if (Number(node.split(".")[0]) < 24) {
  console.error(
    `This needs Node 24, and runs on Node ${node}: start it by npm or npx, ` +
      'after "npm run postinstall" has found Node 24 or said how to get it.',
  );
  process.exit(1);
}
