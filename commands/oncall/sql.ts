// Questions of a person's own to Postgres.
import { spawn } from "node:child_process";
import { once } from "node:events";
import type postgres from "postgres";
import type { Command, Context } from "./command.ts";
import { onCallLogin } from "./postgres.ts";
import { targetOf } from "./stage.ts";
import { Refusal } from "./terminal.ts";

/** Asks one question, and prints its answer. */
const ask = ({ ledger, print }: Context, text: string) =>
  ledger.read(async (sql) => {
    // Not as a simple query, which may be several statements: one could end the transaction, and write.
    const question = sql.unsafe<postgres.Row[]>(text, [], { simple: false } as postgres.UnsafeQueryOptions);
    if ((await ledger.show(question)) === 0) print("(no rows)");
  });

/** Opens psql, as people on call. Resolves to whether it is installed here, and could connect. */
async function openPsql({ lend, secrets, stage }: Context): Promise<boolean> {
  const { host, port, database } = targetOf({ ...stage, sslRootCert: "" }, onCallLogin, "");
  const settings = {
    PGHOST: host,
    PGPORT: String(port),
    PGDATABASE: database,
    PGUSER: onCallLogin,
    PGPASSWORD: secrets.ledger,
    PGSSLMODE: stage.sslMode,
    PGSSLROOTCERT: stage.sslRootCert || process.env.NODE_EXTRA_CA_CERTS,
    PGTZ: stage.timeZone,
    PGCONNECT_TIMEOUT: "10",
    PGAPPNAME: "veza-ledger-oncall",
    PGOPTIONS: "",
  };
  const args = ["-X", "-q", "-P", "pager=off", "-P", "footer=off", "-P", "expanded=auto"];
  const psql = spawn("psql", [...args, "-v", `PROMPT1=${stage.name} %/%R%x%# `], {
    env: { ...process.env, ...settings },
    stdio: "inherit",
  });
  return lend(() =>
    once(psql, "exit").then(
      ([code]) => code !== 2,
      () => false,
    ),
  );
}

async function askOwn(context: Context, ...words: string[]): Promise<void> {
  if (words.length > 0) return ask(context, words.join(" "));
  await context.ledger.read(async () => {}); // So that it is the primary, of this stage.
  if (context.isInteractive && (await openPsql(context))) return;
  for (let text = await context.line("sql"); text; text = await context.line("sql")) {
    await ask(context, text).catch((error) => {
      if (!(error instanceof Refusal)) throw error;
      context.say(...error.lines);
    });
  }
}

export const sqlCommands: Command[] = [
  {
    name: "sql",
    calls: ["sql ['SELECT ...']"],
    help:
      "Asks Postgres, read-only, and for at most 10 s. A table is named with its schema, such as public.orders. " +
      "Without a question, it opens psql where that is installed, which \\q leaves. Elsewhere it asks for questions, " +
      "until an empty line.",
    run: askOwn,
  },
];
