import { type Finding, type Scene, view, well, wrong } from "../look.ts";
import { columnsRead } from "../roles-sql.ts";

/** Whether a table has the columns that its checks read. If not, what it has instead, and a view that bridges them. */
export async function lookAtColumns({ ask }: Scene, table: string): Promise<Finding> {
  const [row] = await ask(`
    select jsonb_agg(attname order by attnum) as found,
      (select format('%I.%I', nspname, relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where pg_class.oid = attrelid) as name
    from pg_attribute where attrelid = to_regclass('${table}') and attnum > 0 and not attisdropped
    group by attrelid`);
  const found: string[] = row?.found ?? [];
  const read = await columnsRead(table);
  const missing = read.filter((column) => !found.includes(column));
  if (missing.length === 0) return well("all that the checks read");
  const others = found.filter((column) => !read.includes(column));
  const selected = read.map((column) => (found.includes(column) ? column : `<column> as ${column}`));
  return wrong(
    `there is no ${missing.join(", ")}${others.length > 0 ? `, but ${others.join(", ")}` : ""}`,
    `migrate the ledger, or ${view}: create schema if not exists veza_ledger_views; ` +
      `create view veza_ledger_views.${table} as select ${selected.join(", ")} from ${row?.name};`,
  );
}
