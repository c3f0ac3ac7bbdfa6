import type { Database } from "../lib/database.ts";
import { orRemedy } from "./ledger-checkup.ts";

/** Lists the rows of the ledger that somebody has accepted, one line each: the soonest to run out comes first. */
export async function lookAtAccepted({ sql }: Database): Promise<[true, string]> {
  const remedy = "npm run migrate";
  const [table] = await orRemedy(sql`select to_regclass('ledger_metrics.accepted') is not null as exists`, remedy);
  if (!table?.exists) return [true, "none: without npm run migrate, no row can be accepted"];
  const rows = await orRemedy(
    sql`select "check", id, accepted_by, why, to_char(until at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as until
      from ledger_metrics.accepted where until > now() order by accepted.until limit 100`,
    remedy,
  );
  const lines = rows.map(
    ({ check, id, until, accepted_by, why }) => `${check} ${id}, until ${until} UTC, by ${accepted_by}: ${why}`,
  );
  return [true, lines.join(`\n${" ".repeat(31)}`) || "none"];
}
