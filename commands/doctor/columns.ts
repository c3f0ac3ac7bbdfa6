// The look "columns of …": whether a table has the columns that roles.sql grants.
import { grantedColumnsOf } from "../declared-rights.ts";
import { type Finding, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { readAView } from "./shared-steps.ts";

/** Whether a table has the columns that are granted; if not, what it has instead. Without one, install.sql fails. */
export async function lookAtColumns({ ask }: LedgerScene, table: string): Promise<Finding> {
  const rows = await ask(`
    select attname as name from pg_attribute
    where attrelid = to_regclass('ledger.${table}') and attnum > 0 and not attisdropped order by attnum`);
  const found = rows.map(({ name }): string => name);
  const expected = grantedColumnsOf(table);
  const missing = expected.filter((column) => !found.includes(column)).join(", ");
  if (!missing) return well("all that are read");
  const others = found.filter((column) => !expected.includes(column)).join(", ");
  const fact = `there is no ${missing}${others && `, but ${others}`}`;
  return wrong(fact, expected.join(", "), `migrate the ledger, or ${readAView}`);
}
