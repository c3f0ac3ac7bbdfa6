// Every npm script that runs TypeScript loads this file first. `npm ci` puts Node 24 on the PATH of npm scripts, unless
// install scripts are turned off. An older Node would only complain about the extension .ts.
const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  console.error(
    `This needs Node 24, and runs on Node ${process.versions.node}. ` +
      'Run "npm ci" with its install scripts: it brings Node 24 along.',
  );
  process.exit(1);
}
