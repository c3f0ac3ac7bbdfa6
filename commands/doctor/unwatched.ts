// The look "unwatched …": how many rows wait in a watched status, and no check watches them.
import { checks, stateOf } from "../../lib/counts/checks.ts";
import { grantedColumnsOf } from "../declared-rights.ts";
import { doubt, type Finding, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

/** A few rows without a provider's id are abandoned carts. */
const many = 10;
/** Enough to show a second provider, and soon read. */
export const newestRows = 100_000;

/** SQL: the newest rows of a table, by their ids. */
export const newestOf = (table: string): string =>
  `(select ${grantedColumnsOf(table).join(", ")} from ledger.${table} order by id desc limit ${newestRows}) as newest`;

/**
 * Looks for rows that wait in a watched status, and that no check watches: those of a second payment provider, whose
 * ids are in another column. Many that are over an hour old are a doubt.
 */
export async function lookAtUnwatched({ ask }: Pick<LedgerScene, "ask">, table: string): Promise<Finding> {
  const ofTable = checks.filter((check) => check.table === table);
  const statuses = [...new Set(ofTable.map(({ status }) => status))];
  const [row] = await ask(`
    select count(*)::float8 as rows from ${newestOf(table)}
    where status in (${statuses.map((status) => `'${status}'`).join(", ")})
      and ${ofTable[0]?.time} < now() - interval '1 hour' and (${ofTable.map(stateOf).join(" or ")}) is not true`);
  if (row?.rows < many) return well(`${row?.rows}`);
  return doubt(
    `${row?.rows.toLocaleString("en")} are ${statuses.join(" or ")} for over an hour, and no check watches them`,
    `fewer than ${many}`,
    "if another payment provider has them: docs/what-counts.md, A view instead of the table",
    `if nobody waits for them: --strict --known "unwatched ${table}"`,
  );
}
