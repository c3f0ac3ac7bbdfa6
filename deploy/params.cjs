// Serverless runs variables only from .js and .cjs files, and loads those with require().
require("../commands/needs-node.js");
module.exports = require("./params.ts").deployment;
