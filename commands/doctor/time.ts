import { doubt, type Finding, type Step, well, wrong } from "../finding.ts";
import { ago } from "../print.ts";
import { sqlName } from "../quote.ts";
import { correct, isOurs, view } from "../remedies.ts";
import type { Session } from "./look.ts";
import { isClockRight } from "./server.ts";

/**
 * Looks at the type of a table's time. A time without a zone is right only in the zone of the process that writes it: a
 * newest row that was written just now tells. A type that cannot be counted by is wrong.
 */
export async function lookAtTime({ ask, login }: Session, table: string, column: string): Promise<Finding> {
  const [row = {}] = await ask(`
    select coalesce(nullif(typbasetype, 0), atttypid)::regtype::text as type, current_database() as database,
      current_setting('timezone') as zone,
      (select source in ('user', 'database user', 'session') from pg_settings where name = 'TimeZone') as is_chosen
    from pg_attribute join pg_type on pg_type.oid = atttypid
    where attrelid = to_regclass('${table}') and attname = '${column}' and not attisdropped`);
  if (row.type === "timestamp with time zone") return well(`${column} is a ${row.type}`);
  if (row.type !== "timestamp without time zone") {
    return wrong(`${column} is a ${row.type}, which cannot be compared with a time of day`, "a timestamp", view);
  }

  const expected = `the zone of the process that writes ${column}`;
  const role = isOurs(login) ? "veza_ledger_sampler" : sqlName(login);
  const sql = `alter role ${role} in database ${sqlName(row.database)} set timezone = 'UTC'`;
  const remedy: Step[] = [`for UTC, put in ${expected}`, { as: "a login that may create roles", sql }];
  if (isOurs(login)) remedy.push("npm run migrate"); // The others read in the sampler's zone.
  if (!row.is_chosen) {
    return wrong(`${column} has no zone, and is read in the server's default, ${row.zone}`, expected, ...remedy);
  }
  const newest = `
    select extract(epoch from now() - max(${column})::timestamptz)::float8 as age
    from ${table} where isfinite(${column})`;
  const [written] = await ask(newest).catch(() => []); // May take too long, or not be granted.
  const age = written?.age;
  const reading = `${column} has no zone, and is read as ${row.zone}`;
  if (typeof age !== "number") return doubt(reading, expected, "if that is not the writer's:", ...remedy);
  if (!(await isClockRight(ask))) return well(reading);
  if (age < -60) {
    const isMoreThanAZone = age < -26 * 3_600; // No two zones are further apart.
    return wrong(
      `${reading}, by which the newest row is ${ago(-age)} ahead`,
      expected,
      ...(isMoreThanAZone ? [correct] : remedy),
    );
  }
  const byWhich = `${reading}, by which the newest row is ${ago(age)} old`;
  return age > 900 ? doubt(byWhich, "under 15 min", "if it is younger:", ...remedy) : well(byWhich);
}
