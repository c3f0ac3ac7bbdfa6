// The look "unwatched …": how many rows wait in a watched status, and no check watches them.
import { checks, stateOf } from "../../lib/counts/checks.ts";
import { doubt, type Finding, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

/** A few rows without a provider's id are abandoned carts. */
const many = 10;
/** How many rows are read, from the highest id down: enough to show a second provider, and soon read. */
const newestRows = 100_000;

/**
 * Looks for rows that wait in a watched status, and that no check watches: those of a second payment provider, whose
 * ids are in another column. Many that are over an hour old are a doubt. Undefined where they cannot be read, or the
 * status alone decides.
 */
export async function lookAtUnwatched({ ask }: Pick<LedgerScene, "ask">, table: string): Promise<Finding | undefined> {
  const ofTable = checks.filter((check) => check.table === table);
  // Of a status that one check watches without a condition, no row is left.
  const conditional = ofTable.filter(({ status }) =>
    ofTable.every((other) => other.status !== status || other.condition !== undefined),
  );
  const [{ time } = {}] = conditional;
  if (!time) return undefined;
  const statuses = [...new Set(conditional.map(({ status }) => status))];
  const columns = [...new Set(["status", time, ...conditional.flatMap(({ columns = [] }) => columns)])];
  const newest = `select ${columns.join(", ")} from ledger.${table} order by id desc limit ${newestRows}`;
  const [row] = await ask(`
    select count(*)::float8 as rows from (${newest}) as newest
    where status in (${statuses.map((status) => `'${status}'`).join(", ")}) and ${time} < now() - interval '1 hour'
      and (${conditional.map(stateOf).join(" or ")}) is not true`).catch(() => []);
  if (!row) return undefined;
  if (row.rows < many) return well(`${row.rows}`);
  return doubt(
    `${row.rows.toLocaleString("en")} are ${statuses.join(" or ")} for over an hour, and no check watches them`,
    `fewer than ${many}`,
    "if another payment provider has them: docs/what-counts.md, A second payment provider",
    `if nobody waits for them: --strict --known "unwatched ${table}"`,
  );
}
