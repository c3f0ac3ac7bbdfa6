// The look "columns of …": whether a table has the columns that its checks read, and those that roles.sql grants.
import { columnsOf, grantedColumnsOf } from "../declared-rights.ts";
import { doubt, type Finding, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { readAView } from "./shared-steps.ts";

/**
 * Whether a table has the columns that its checks read; if not, what it has instead. Without the other columns that are
 * granted, rows count, but roles.sql fails, and nobody can list or accept them.
 */
export async function lookAtColumns({ ask }: LedgerScene, table: string): Promise<Finding> {
  const rows = await ask(`
    select attname as name from pg_attribute
    where attrelid = to_regclass('ledger.${table}') and attnum > 0 and not attisdropped order by attnum`);
  const found = rows.map(({ name }): string => name);
  const read = columnsOf(table);
  const missing = read.filter((column) => !found.includes(column));
  if (missing.length > 0) {
    const others = found.filter((column) => !read.includes(column)).join(", ");
    const fact = `there is no ${missing.join(", ")}${others && `, but ${others}`}`;
    return wrong(fact, read.join(", "), `migrate the ledger, or ${readAView}`);
  }
  const granted = grantedColumnsOf(table);
  const lacking = granted.filter((column) => !found.includes(column)).join(", ");
  if (!lacking) return well("all that the checks read");
  return doubt(
    `all that the checks read, and no ${lacking}`,
    `${granted.join(", ")}: roles.sql grants these`,
    readAView,
  );
}
