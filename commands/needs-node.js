// Every npm script that runs TypeScript loads this first. `npm ci` puts Node 24 on their PATH; where its install scripts were
// left out, the system's own Node runs them, and an older one would only say that it does not know the file extension.
const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  console.error(
    `This needs Node 24 and was started by Node ${process.versions.node}. Run "npm ci" with its install scripts: it brings Node 24 along.`,
  );
  process.exit(1);
}
