import { checks, questionOf } from "../lib/checks.ts";
import { deadline } from "../lib/deadline.ts";
import { command, Misuse, start } from "./command.ts";
import { firstLook } from "./first-look.ts";
import { type Print, postgresTimeoutMs, type Scene, takeLooks } from "./look.ts";
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

const options = {
  sql: { type: "boolean", default: false },
  settled: { type: "string", multiple: true, default: [] as string[] },
  schema: { type: "string" },
} as const;

/** Looks at what the settings name, or counts on the ledger behind a URL. */
export const run = command(usage, options, async ({ sql, settled, schema }, [role = "both", ...more], { log }) => {
  const statuses = settled.flatMap((text) => text.split(","));
  const isUrl = /^postgres(ql)?:/.test(role);
  if (more.length > 0 || (sql && role !== "sampler") || (schema !== undefined && !isUrl)) {
    throw new Misuse("these do not go together");
  }
  if (isUrl) return await firstLook(role, schema, statuses, log);
  if (!/^(both|sampler|receiver)$/.test(role)) throw new Misuse(`not understood: ${role}`);
  if (!sql) return await examine({ sampler: role !== "receiver", receiver: role !== "sampler" }, statuses, log);
  log(statements());
  return 0;
});

/** Takes all looks, and prints one line about each, with its remedy below it. Resolves to 1 when something is wrong. */
async function examine(functions: Scene["functions"], settled: string[], print: Print): Promise<number> {
  const scene = { functions, settled, limit: deadline("Postgres", postgresTimeoutMs) } as Scene;
  let exitCode = 0;
  for await (const [{ name }, { mark, fact, remedy }] of takeLooks(looks, scene)) {
    print(`${mark} ${name.padEnd(28)} ${fact}${remedy ? `\n  ${" ".repeat(28)} → ${remedy}` : ""}`);
    if (mark === "✗") exitCode = 1;
  }
  await scene.database?.close();
  return exitCode;
}

/** Every statement of the sampler, to paste into psql. */
function statements(): string {
  const texts = [
    "-- Ask as the sampler's login: its rights, search_path, zone and row_security decide what it sees.",
    ...checks.map((check) => `-- ${check.id}\n${questionOf(check, { withOldest: true })};`),
  ];
  return texts.join("\n\n");
}

if (import.meta.main) await start(run);
