import { doubt, type Finding, well, wrong } from "../finding.ts";
import { columnsOf } from "../plan/rights.ts";
import { sqlName } from "../quote.ts";
import { view } from "../remedies.ts";
import type { Session } from "./look.ts";

/**
 * Whether a table has the columns that its checks read. If not, what it has instead, and a view that bridges them.
 * Without `id`, rows count, and nobody can list or accept them.
 */
export async function lookAtColumns({ ask }: Session, table: string): Promise<Finding> {
  const [row] = await ask(`
    select jsonb_agg(attname order by attnum) as found, nspname as schema
    from pg_attribute join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace
    where attrelid = to_regclass('${table}') and attnum > 0 and not attisdropped group by nspname`);
  const found: string[] = row?.found ?? [];
  const read = columnsOf(table);
  const missing = read.filter((column) => !found.includes(column));
  if (missing.length === 0) {
    if (found.includes("id")) return well("all that the checks read");
    return doubt("all that the checks read, and no id", "an id, by which a row is listed or accepted", view);
  }
  const others = found.filter((column) => !read.includes(column));
  const selected = ["id", ...read].map((column) => (found.includes(column) ? column : `<column> as ${column}`));
  return wrong(
    `there is no ${missing.join(", ")}${others.length > 0 ? `, but ${others.join(", ")}` : ""}`,
    read.join(", "),
    `migrate the ledger, or ${view}`,
    "create schema if not exists veza_ledger_views; " +
      `create view veza_ledger_views.${table} as select ${selected.join(", ")} from ${sqlName(row?.schema)}.${table};`,
  );
}
