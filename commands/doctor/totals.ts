import { codeOf } from "../../lib/database.ts";
import { errorFields } from "../../lib/log.ts";
import { lockAndReadTotals } from "../../lib/publish.ts";
import { type Finding, well, wrong } from "../finding.ts";
import { tryDelivery } from "../trial.ts";
import type { Scene, Session } from "./look.ts";

/** Locks and reads the totals, records a delivery, and takes it back. */
export async function lookAtTotals({ database: { sql }, login, functions }: Scene & Session): Promise<Finding> {
  try {
    // People on call may read them, but not lock them: a publisher would wait.
    await sql.unsafe(login === "veza_ledger_oncall" ? "select from ledger_metrics.totals limit 1" : lockAndReadTotals);
    if (!functions.receiver) return well("ledger_metrics is there, and readable");
    await sql.unsafe("rollback; begin");
    await tryDelivery(sql);
    return well("ledger_metrics is there, and writable");
  } catch (error) {
    const remedy = codeOf(error) === "55P03" ? "run it again" : "npm run migrate";
    return wrong(errorFields(error).reason, "that the function can work with them", remedy);
  } finally {
    await sql.unsafe("rollback").catch(() => {}); // For the same reason, when that fails too.
  }
}
