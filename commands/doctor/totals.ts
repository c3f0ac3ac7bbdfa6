import { codeOf } from "../../lib/database.ts";
import { errorFields } from "../../lib/log.ts";
import { lockAndReadTotals } from "../../lib/publish.ts";
import { type Finding, well, wrong } from "../finding.ts";
import { tryDelivery } from "../trial.ts";
import type { Scene, Session } from "./look.ts";

/** Locks and reads the totals, records a delivery, and takes it back. */
export async function lookAtTotals({ database: { sql }, login, functions }: Scene & Session): Promise<Finding> {
  const [row] = await sql`select to_regnamespace('ledger_metrics') is null as is_missing`;
  if (row?.is_missing) return wrong('schema "ledger_metrics" does not exist', "that schema", "npm run migrate");
  let may = "read";
  try {
    // People on call may read them, and not stand in the way of a publisher.
    await sql.unsafe(login === "veza_ledger_oncall" ? "select from ledger_metrics.totals limit 1" : lockAndReadTotals);
    if (!functions.receiver) return well("ledger_metrics is there, and readable");
    may = "write to";
    await sql.unsafe("rollback; begin");
    await tryDelivery(sql);
  } catch (error) {
    const isRefused = codeOf(error) === "42501";
    const found = isRefused ? `the role may not ${may} ledger_metrics` : errorFields(error).reason;
    const remedy = codeOf(error) === "55P03" ? "run it again" : "npm run migrate";
    return wrong(found, isRefused ? "its rights" : "a delivery is recorded", remedy);
  } finally {
    await sql.unsafe("rollback").catch(() => {}); // For the same reason, when that fails too.
  }
  return well("ledger_metrics is there, and writable");
}
