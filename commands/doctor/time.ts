// The look "time of …": whether the time of a table can be compared with a time of day.
import { doubt, type Finding, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { readAView } from "./shared-steps.ts";

/**
 * Looks at the type of a table's time. A time without a zone is right only in the zone of the process that writes it,
 * which its reader has to know. A type that has no minutes is wrong.
 */
export async function lookAtTime({ ask }: LedgerScene, table: string, column: string): Promise<Finding> {
  const [row = {}] = await ask(`
    select coalesce(nullif(typbasetype, 0), atttypid)::regtype::text as type, current_setting('timezone') as zone
    from pg_attribute join pg_type on pg_type.oid = atttypid
    where attrelid = to_regclass('ledger.${table}') and attname = '${column}' and not attisdropped`);
  if (row.type === "timestamp with time zone") return well(`${column} is a ${row.type}`);
  if (row.type !== "timestamp without time zone") {
    return wrong(`${column} is a ${row.type}, which cannot be compared with a time of day`, "a timestamp", readAView);
  }
  return doubt(
    `${column} has no zone, and is read in ${row.zone}`,
    `the zone of the process that writes ${column}`,
    "if that is another one, set LEDGER_TIMEZONE: docs/what-counts.md, The zone of times without a zone",
  );
}
