// Every npm script that runs TypeScript loads this file first. On Linux, `npm ci` puts Node 24 on the PATH of npm
// scripts. An older Node would only complain about the extension .ts.
const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  console.error(
    `This needs Node 24, and runs on Node ${process.versions.node}. ` +
      'Run "npm ci": on Linux it brings Node 24 along. Elsewhere, install that first.',
  );
  process.exit(1);
}
