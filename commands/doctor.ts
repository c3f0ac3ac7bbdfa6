import { parseArgs } from "node:util";
import { checks, questionOf } from "../lib/checks.ts";
import { deadline, stayAwake } from "../lib/deadline.ts";
import "./closed-pipe.ts";
import { firstLook } from "./first-look.ts";
import { postgresTimeoutMs, type Scene, takeLooks } from "./look.ts";
import { looks } from "./looks.ts";

// npm run doctor: looks, with the functions' own settings and code, for everything that would keep them from working.
// Prints one line each. What it writes to the database, it takes back.
const usage = `usage: npm run doctor [-- sampler | receiver] [--settled <status>,<status>]
       npm run doctor -- sampler --sql
       npm run doctor -- postgres://… [--schema <name>]

  postgres:// counts on a ledger where nothing is installed yet: reads it, and
              changes nothing. The password may be in PGPASSWORD instead
  --schema    the ledger's schema, where the login's search_path does not lead
              to it
  --settled   statuses that are settled: nobody waits for such rows
  --sql       prints the sampler's statements, to paste into psql
  -h, --help  prints this`;

const { role, settled, printsSql, schema } = readArguments();
if (printsSql) {
  console.log(statements());
  process.exit();
}
if (isUrl(role)) {
  process.exit((await stayAwake(firstLook(role, schema, settled))) ? 0 : 1);
}
await stayAwake(examine());

function isUrl(role: string): boolean {
  return /^postgres(ql)?:/.test(role);
}

function readArguments(): { role: string; settled: string[]; printsSql: boolean; schema: string | undefined } {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        sql: { type: "boolean", default: false },
        settled: { type: "string", multiple: true, default: [] },
        schema: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit();
    }
    const [role = "both", ...more] = positionals;
    const roles = values.sql ? ["sampler"] : ["both", "sampler", "receiver"];
    const settled = values.settled.flatMap((text) => text.split(","));
    const isKnown = roles.includes(role) && !values.schema;
    const { sql: printsSql, schema } = values;
    if ((isKnown || (isUrl(role) && !printsSql)) && more.length === 0) return { role, settled, printsSql, schema };
  } catch {}
  console.error(usage);
  process.exit(2);
}

/** Takes all looks, and prints one line about each, with its remedy below it. */
async function examine(): Promise<void> {
  const functions = { sampler: role !== "receiver", receiver: role !== "sampler" };
  const scene = { functions, settled, limit: deadline("Postgres", postgresTimeoutMs) } as Scene;
  for await (const [{ name }, { mark, fact, remedy }] of takeLooks(looks, scene)) {
    console.log(`${mark} ${name.padEnd(28)} ${fact}${remedy ? `\n  ${" ".repeat(28)} → ${remedy}` : ""}`);
    if (mark === "✗") process.exitCode = 1;
  }
  await scene.database?.close();
}

/** Every statement of the sampler, to paste into psql. */
function statements(): string {
  const texts = [
    "-- Ask as the sampler's login: its rights, search_path, zone and row_security decide what it sees.",
    ...checks.map((check) => `-- ${check.id}\n${questionOf(check, { withOldest: true })};`),
    "-- The counts alone, for a check whose oldest row cannot be had.",
    ...checks.map((check) => `-- ${check.id}\n${questionOf(check, { withOldest: false })};`),
  ];
  return texts.join("\n\n");
}
