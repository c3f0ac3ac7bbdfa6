import type { Ask } from "../../lib/question.ts";
import { ago, correct, doubt, type Finding, here, type Scene, setTo, view, well, wrong } from "../look.ts";

/**
 * Looks at the type of a table's time. A time without a zone is right only in the zone of the process that writes it: a
 * newest row that was written just now tells. A type that cannot be counted by is wrong.
 */
export async function lookAtTime({ ask, isClockRight }: Scene, table: string, column: string): Promise<Finding> {
  const [row] = await ask(`
    select coalesce(nullif(typbasetype, 0), atttypid)::regtype::text as type, ${here},
      current_setting('timezone') as zone,
      (select source in ('user', 'database user', 'session') from pg_settings where name = 'TimeZone') as is_chosen
    from pg_attribute join pg_type on pg_type.oid = atttypid
    where attrelid = to_regclass('${table}') and attname = '${column}' and not attisdropped`);
  if (!row) return wrong(`there is no ${column}`, `migrate the ledger, or ${view}`);
  if (row.type === "timestamp with time zone") return well(`${column} is a ${row.type}`);
  if (row.type !== "timestamp without time zone") {
    return wrong(`${column} is a ${row.type}, which cannot be compared with a time of day`, view);
  }

  const setZone = (zone: string) => setTo(row, `timezone = '${zone}'`);
  const orOther = `or name the zone of the process that writes ${column}`;
  if (!row.is_chosen) {
    const problem = `${column} has no zone, and is read in the server's default, ${row.zone}`;
    return wrong(problem, `${setZone("UTC")}; ${orOther}`);
  }
  const newest = `
    select extract(epoch from now() - max(${column})::timestamptz)::float8 as age
    from ${table} where isfinite(${column})`;
  const [written] = await ask(newest).catch(() => []); // May take too long, or not be granted.
  const age = written?.age;
  const reading = `${column} has no zone, and is read as ${row.zone}`;
  const isOld = `${reading}, by which the newest row is ${ago(age)} old`;
  if (typeof age !== "number") return doubt(reading, `if that is not the writer's: ${setZone("UTC")}; ${orOther}`);
  if (!isClockRight) return well(reading);
  // No two zones are further apart.
  if (age < -26 * 3_600) return wrong(`${reading}, and the newest row is ${ago(-age)} ahead`, correct);
  if (age < -60) {
    const zone = (await zoneAhead(ask, -age)) ?? "UTC";
    return wrong(`${reading}, by which the newest row is ${ago(-age)} ahead`, `${setZone(zone)}; ${orOther}`);
  }
  if (age > 900) return doubt(isOld, `if it is younger: ${setZone("UTC")}; ${orOther}`);
  return well(isOld);
}

/**
 * A zone in which a row that seems `seconds` ahead was written within the last hour. Prefers this machine's zone, then
 * the server's, then zones of whole hours.
 */
async function zoneAhead(ask: Ask, seconds: number): Promise<string | undefined> {
  const [row] = await ask(`
    select name from pg_timezone_names, (
      select utc_offset + interval '${seconds} s' as least from pg_timezone_names
      where name = current_setting('timezone')
    ) as ahead
    where utc_offset >= least and utc_offset < least + interval '1 hour'
    order by name = '${Intl.DateTimeFormat().resolvedOptions().timeZone}' desc,
      name = current_setting('log_timezone') desc, extract(minute from utc_offset) <> 0, name !~ '^Europe/', name
    limit 1`).catch(() => []);
  return row?.name;
}
