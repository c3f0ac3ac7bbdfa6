// Serverless takes variables from programs only if they end in .js or .cjs, and loads them with require().
require("../commands/needs-node.js");
// Lambda reads the archives as another user, whatever the umask here.
process.umask(0o022);
module.exports = require("./params.ts").deployment;
