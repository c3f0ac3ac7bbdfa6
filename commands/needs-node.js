// Every npm script that runs TypeScript loads this file first. `npm ci` puts Node 24 on the PATH of npm scripts, unless its
// install scripts were left out. An older Node would only complain about the extension .ts.
const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  console.error(
    `This needs Node 24 and was started by Node ${process.versions.node}. Run "npm ci" with its install scripts: it brings Node 24 along.`,
  );
  process.exit(1);
}
