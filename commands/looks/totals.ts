import { codeOf } from "../../lib/database.ts";
import { errorFields } from "../../lib/log.ts";
import { lockAndReadTotals } from "../../lib/publish.ts";
import { type Finding, well, wrong } from "../finding.ts";
import { roleMaker } from "../remedies.ts";
import type { Scene, Session } from "../take-looks.ts";
import { tryDelivery } from "../trial.ts";

const migrate = "npm run migrate";

/** Locks and reads the totals, records a delivery, and takes it back. */
export async function lookAtTotals({ database: { sql }, functions }: Scene & Session): Promise<Finding> {
  const [row] =
    await sql`select to_regnamespace('ledger_metrics') is null as is_missing, quote_ident(session_user) as login,
      quote_ident(current_database()) as database, current_setting('synchronous_commit') = 'off' as forgets`;
  if (row?.is_missing) return wrong('schema "ledger_metrics" does not exist', "that schema", migrate);
  const alter = `alter role ${row?.login} in database ${row?.database}`;
  let may = "read";
  try {
    await sql.unsafe(lockAndReadTotals);
    if (!functions.receiver) return well("ledger_metrics is there, and readable");
    may = "write to";
    await sql.unsafe("rollback; begin");
    await tryDelivery(sql);
  } catch (error) {
    if (codeOf(error) === "42501")
      return wrong(`the role may not ${may} ledger_metrics`, "the rights of roles.sql", migrate);
    if (codeOf(error) === "25006") {
      return wrong("default_transaction_read_only is on: each delivery is answered with 503", "off", {
        as: roleMaker,
        sql: `begin read write; ${alter} set default_transaction_read_only = off; commit`,
      });
    }
    return wrong(
      errorFields(error).reason,
      "a delivery is recorded",
      codeOf(error) === "55P03" ? "run it again" : migrate,
    );
  } finally {
    await sql.unsafe("rollback").catch(() => {}); // For the same reason, when that fails too.
  }
  if (row?.forgets) {
    return wrong("a crash of Postgres would lose what was answered (synchronous_commit is off)", "on", migrate);
  }
  return well("ledger_metrics is there, and writable");
}
