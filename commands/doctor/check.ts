import { type Check, questionOf, stateOf } from "../../lib/checks.ts";
import { codeOf } from "../../lib/database.ts";
import { errorFields } from "../../lib/log.ts";
import type { Ask } from "../../lib/question.ts";
import { doubt, type Finding, type Step, well, wrong } from "../finding.ts";
import { correct, view } from "../remedies.ts";
import type { Session } from "./look.ts";
import { isClockRight } from "./server.ts";
import { namesOf, statusesOf } from "./statuses.ts";

/**
 * Whether the role can ask a check, whether rows in its state have a time, and whether rows have its status. Finds the
 * first that is not so.
 */
export async function lookAtCheck({ ask }: Pick<Session, "ask">, check: Check): Promise<Finding> {
  try {
    await ask(`explain ${questionOf(check, { withOldest: true })}`);
  } catch (error) {
    const { reason } = errorFields(error);
    return wrong(reason, "a plan of its query", remedyFor(error));
  }
  const outside = await lookOutside(ask, check);
  if (outside) return outside;
  if (await isStatusKnown(ask, check)) return well("can be asked");
  const statuses = namesOf(await statusesOf(ask, check.table).catch(() => []));
  return doubt(
    `no row, type or constraint knows the status '${check.status}'${statuses && `, but ${statuses}`}`,
    `'${check.status}'`,
    `none may have it today; if a release has renamed it, ${view}`,
  );
}

function remedyFor(error: unknown): Step {
  switch (codeOf(error)) {
    case "22P02": // A type that does not take the value.
      return view;
    case "42501":
      return `see migration, above; where that is content, a function behind a view reads it: ${view}`;
    default:
      return "paste its query into psql: npm run doctor -- sampler --sql";
  }
}

/**
 * Rows in the state that a check watches without a time, or with a time over 5 min ahead. A wrong clock, which
 * another look finds, puts many rows ahead, but none by a day.
 */
async function lookOutside(ask: Ask, check: Check): Promise<Finding | undefined> {
  const { table, time, staleAfter } = check;
  const isAhead = `${time} > now() + interval '${(await isClockRight(ask)) ? "5 minutes" : "1 day"}'`;
  const question = `
    select count(*) filter (where ${time} is null)::float8 as no_time, count(${time})::float8 as ahead
    from ${table} where ${stateOf(check)} and (${time} is null or ${isAhead})`;
  const [row] = await ask(question).catch(() => []); // Without an index it may take too long.
  const effect = staleAfter ? "do not count" : "count, without an oldest row";
  const found = staleAfter ? wrong : doubt;
  const expected = `each ${time} until now`;
  if (row?.no_time > 0) return found(`rows without ${time} ${effect}: ${row?.no_time}`, expected, correct);
  if (!(row?.ahead > 0)) return undefined;
  return found(`rows whose ${time} is in the future ${effect}: ${row?.ahead}`, expected, correct);
}

/** Whether a row has the status, or type, constraint or statistics of the column name it. True on an empty table. */
async function isStatusKnown(ask: Ask, { table, status }: Check): Promise<boolean> {
  // May take too long on a large table without its index; then the rest has to tell.
  const [row] = await ask(
    `select exists (select from ${table} where status = '${status}') or not exists (select from ${table}) as known`,
  ).catch(() => []);
  if (row?.known) return true;
  const [declared] = await ask(`
    select exists (select from pg_enum where enumtypid = atttypid and enumlabel = '${status}')
      or exists (select from pg_constraint where conrelid = attrelid and contype = 'c' and attnum = any (conkey)
        and strpos(pg_get_constraintdef(pg_constraint.oid), quote_literal('${status}')) > 0)
      or exists (select from pg_stats
        where tablename = '${table}' and to_regclass(format('%I.%I', schemaname, tablename)) = attrelid
        and pg_stats.attname = 'status' and '${status}' = any (most_common_vals::text::text[])) as known
    from pg_attribute where attrelid = to_regclass('${table}') and attname = 'status' and not attisdropped`);
  return declared?.known ?? false;
}
