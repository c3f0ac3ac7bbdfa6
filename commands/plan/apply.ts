import type { Sql } from "postgres";
import { deadline } from "../../lib/deadline.ts";
import type { Ask } from "../../lib/question.ts";
import { parseDatabaseUrl } from "../../lib/settings.ts";
import { connect } from "../connect.ts";
import { Problem } from "../finding.ts";
import { sqlName } from "../quote.ts";
import { safeSettings } from "./facts.ts";
import { makePlan, nothingMore, type Plan, type Statement, type Wanted } from "./plan.ts";

/** SQL: begins a plan's transaction. Sent on its own: Postgres reads a message's texts by the settings before it. */
export const begin = `begin isolation level read committed read write;
${safeSettings}
set local lock_timeout = '1s'; -- Deliveries would wait as long.`;

export const become = (role: string): string => `set local role ${sqlName(role)}`;

/** What a session may run of a plan, and what it leaves to others: all of it if they have to make something first. */
export interface Shares {
  mine: Statement[];
  others: Statement[];
}

function share({ facts, statements }: Plan): Shares {
  const { true: mine = [], false: others = [] } = Object.groupBy(statements, ({ as }) =>
    String([facts.login, ...facts.mayBecome].includes(as)),
  );
  return others.some(({ isNew }) => isNew) ? { mine: [], others: statements } : { mine, others };
}

/**
 * Makes a plan, and runs what this session may of it, in one transaction; with `print`, it runs nothing. `onCommit` is
 * called before the commit. Rejects when nothing was changed, or with a lost connection.
 */
export async function apply(
  sql: Sql,
  wanted: Wanted & { print?: boolean },
  onCommit = () => {},
): Promise<Shares & { plan: Plan }> {
  const ask: Ask = async (question) => {
    const rows = (await sql.unsafe(question)) as unknown[];
    return rows.at(-1) as Awaited<ReturnType<Ask>>; // Each question sets something first.
  };
  await sql.unsafe(begin);
  try {
    const plan = await makePlan(ask, wanted);
    const shares = share(plan);
    if (wanted.print) {
      await sql.unsafe("rollback");
      return { plan, ...shares };
    }
    for (const { sql: statement, as } of shares.mine) {
      const text = as === plan.facts.login ? statement : `${become(as)};\n${statement};\n${become(plan.facts.login)}`;
      await sql.unsafe(text).catch((error) => {
        const [line = ""] = statement.replace(/ password .*/, "").split("\n");
        throw Object.assign(error, { message: `${error.message}, at: ${line}` });
      });
    }
    // A grant by a login that may not give it is a mere warning.
    const left = shares.mine.length > 0 ? share(await makePlan(ask, wanted)).mine : [];
    const again = left.find(({ sql: one }) => shares.mine.some(({ sql: ran }) => ran === one));
    if (again) throw new Problem(`Postgres took it and did not do it: ${again.sql}`, "run it as a superuser");
    onCommit();
    await sql.unsafe("commit");
    return { plan, ...shares };
  } catch (error) {
    await sql.unsafe("rollback").catch(() => {});
    throw error;
  }
}

/** Makes all that is lacking, as the login of this URL, for the demo and for tests. Rejects as `apply` does. */
export async function makeAll(url: string, wanted: Partial<Wanted> = {}): Promise<void> {
  const target = parseDatabaseUrl(url);
  const { sql, close } = await connect(async () => target, "veza-ledger-migrate", deadline("Postgres", 25_000));
  await apply(sql, { ...nothingMore, ...wanted }).finally(close);
}
