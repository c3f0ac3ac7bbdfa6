import { type Check, questionOf, stateOf } from "../../lib/checks.ts";
import { errorFields } from "../../lib/log.ts";
import type { Ask } from "../../lib/question.ts";
import { correct, doubt, type Finding, remedyFor, type Scene, view, well, wrong } from "../look.ts";
import { namesOf, statusesOf } from "./statuses.ts";

/**
 * Whether the role can ask a check, whether rows in its state have a time, and whether rows have its status. Finds the
 * first that is not so.
 */
export async function lookAtCheck(scene: Scene, check: Check): Promise<Finding> {
  const { ask } = scene;
  try {
    await ask(`explain ${questionOf(check, { withOldest: true })}`);
  } catch (error) {
    const { reason } = errorFields(error);
    return await ask(`explain ${questionOf(check, { withOldest: false })}`).then(
      () => doubt(`counts, and does not know the oldest row: ${reason}`, remedyFor(error)),
      () => wrong(reason, remedyFor(error)),
    );
  }
  const outside = await lookOutside(scene, check);
  if (outside) return outside;
  if (!(await isStatusKnown(ask, check))) {
    const statuses = namesOf(await statusesOf(ask, check.table).catch(() => []));
    return doubt(
      `no row, type or constraint knows the status '${check.status}'${statuses && `, but ${statuses}`}`,
      `none may have it today; if a release has renamed it, ${view}`,
    );
  }
  return well("can be asked");
}

/** Rows in the state that a check watches without a time, or with a time over 5 min ahead. */
async function lookOutside({ ask, isClockRight }: Scene, check: Check): Promise<Finding | undefined> {
  const { table, time, staleAfter } = check;
  const question = `
    select count(*) filter (where ${time} is null)::float8 as no_time,
      count(*) filter (where ${time} > now() + interval '5 minutes')::float8 as ahead,
      count(*) filter (where ${time} = 'infinity')::float8 as endless,
      pg_typeof(min(${time}))::text as type
    from ${table} where ${stateOf(check)} and (${time} is null or ${time} > now() + interval '5 minutes')`;
  const [row] = await ask(question).catch(() => []); // Without an index it may take too long.
  const effect = staleAfter ? "do not count" : "count, without an oldest row";
  const found = staleAfter ? wrong : doubt;
  if (row?.no_time > 0) return found(`rows without ${time} ${effect}: ${row?.no_time}`, correct);
  // lookAtTime() tells of a wrong zone, and lookAtServer() of a wrong clock, by finite times.
  const ahead = row?.type === "timestamp without time zone" || !isClockRight ? row?.endless : row?.ahead;
  return ahead > 0 ? found(`rows whose ${time} is in the future ${effect}: ${ahead}`, correct) : undefined;
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
