import { text } from "node:stream/consumers";
import { parseEnv } from "node:util";
import { isOurs } from "./rights.ts";
import { scramVerifier } from "./scram.ts";

// npm run verifiers <passwords: SQL that gives the roles the passwords in lines such as veza_ledger_sampler=…, as what Postgres stores of them. No log of the server shows a password then.
for (const [role, password] of Object.entries(parseEnv(await text(process.stdin)))) {
  if (!isOurs(role) || !password) throw new Error("write lines such as veza_ledger_sampler=…");
  console.log(`alter role ${role} password '${scramVerifier(password)}';`);
}
