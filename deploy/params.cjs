// Serverless takes variables from programs only if they end in .js or .cjs, and loads them with require().
require("../commands/needs-node.js");
module.exports = require("./params.ts").deployment;
