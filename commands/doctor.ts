import { parseArgs } from "node:util";
import { checks, questionOf } from "../lib/checks.ts";
import { deadline, stayAwake } from "../lib/deadline.ts";
import "./closed-pipe.ts";
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
  help: { type: "boolean", short: "h" },
} as const;

/** Runs the command, with the settings of this process. Resolves to its exit code. */
export async function run(args: string[], out: Pick<Console, "log" | "error">): Promise<number> {
  try {
    const { positionals, values } = parseArgs({ args, allowPositionals: true, options });
    const [role = "both", ...more] = positionals;
    const settled = values.settled.flatMap((text) => text.split(","));
    if (values.help) return show(out.log, usage, 0);
    if (more.length === 0 && /^postgres(ql)?:/.test(role) && !values.sql) {
      return (await firstLook(role, values.schema, settled, out.log)) ? 0 : 1;
    }
    if (more.length === 0 && values.sql && role === "sampler") return show(out.log, statements(), 0);
    if (more.length === 0 && !values.sql && !values.schema && /^(both|sampler|receiver)$/.test(role)) {
      return await examine({ sampler: role !== "receiver", receiver: role !== "sampler" }, settled, out.log);
    }
  } catch (error) {
    if (!(error instanceof TypeError && "code" in error)) throw error; // parseArgs says what it does not know.
  }
  return show(out.error, usage, 2);
}

function show(print: Print, text: string, exitCode: number): number {
  print(text);
  return exitCode;
}

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
    "-- The counts alone, for a check whose oldest row cannot be had.",
    ...checks.map((check) => `-- ${check.id}\n${questionOf(check, { withOldest: false })};`),
  ];
  return texts.join("\n\n");
}

if (import.meta.main) process.exit(await stayAwake(run(process.argv.slice(2), console)));
