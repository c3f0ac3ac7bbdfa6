// The look "soft-deleted …": how many of the rows that a check counts are soft-deleted, as gorm deletes.
import { type Check, rowsOf } from "../../lib/counts/checks.ts";
import { errorFields } from "../../lib/log.ts";
import { doubt, type Finding, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

/**
 * How many rows of a check's count have a `deleted_at`. Resolves to undefined where the table has no such column. The
 * logins of the service may not read it, and need not: then the number is unknown, which is said, and no doubt.
 */
export async function lookAtSoftDeleted(
  { ask, login }: Pick<LedgerScene, "ask" | "login">,
  check: Check,
): Promise<Finding | undefined> {
  const [column] = await ask(`
    select has_column_privilege(attrelid, attnum, 'select') as is_readable from pg_attribute
    where attrelid = to_regclass('ledger.${check.table}') and attname = 'deleted_at' and not attisdropped`);
  if (!column) return undefined;
  if (!column.is_readable) return well(`unknown: ${login} may not read deleted_at, and a login that may is told`);
  try {
    const [row] = await ask(`select count(deleted_at)::float8 as rows ${rowsOf(check)}`);
    if (row?.rows === 0) return well("none of the rows that count");
    return doubt(
      `${row?.rows.toLocaleString("en")} of the rows that count have a deleted_at`,
      "none",
      "leave them out by where deleted_at is null: docs/what-counts.md, A view instead of the table",
      `if somebody waits for them: --strict --known "soft-deleted ${check.id}"`,
    );
  } catch (error) {
    return well(`unknown: ${errorFields(error).reason}`);
  }
}
