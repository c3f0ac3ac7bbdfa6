// The look "totals": whether the functions can work with the totals.
import type { Sql } from "postgres";
import { errorFields } from "../../lib/log.ts";
import { codeOf } from "../../lib/postgres/database.ts";
import { recordDelivery } from "../../lib/totals/deliveries.ts";
import { tally } from "../../lib/totals/events.ts";
import { lockAndReadTotals } from "../../lib/totals/publish.ts";
import { roleOf } from "../declared-rights.ts";
import { type Finding, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { installAgain } from "./shared-steps.ts";

/** Locks and reads the totals, records a delivery, and takes it back. */
export async function lookAtTotals({ database, login, functions }: LedgerScene): Promise<Finding> {
  const { sql } = database;
  try {
    // People on call may read them, but not lock them: a publisher would wait.
    const isOnCall = roleOf(login) === "veza_ledger_oncall";
    await sql.unsafe(isOnCall ? "begin; select from ledger_metrics.totals limit 1" : lockAndReadTotals);
    if (!functions.receiver) return well("ledger_metrics is there, and readable");
    await sql.unsafe("rollback; begin");
    await tryDelivery(sql);
    return well("ledger_metrics is there, and writable");
  } catch (error) {
    const remedy = codeOf(error) === "55P03" ? "run it again" : installAgain;
    return wrong(errorFields(error).reason, "that the function can work with them", remedy);
  } finally {
    await sql.unsafe("rollback").catch(() => {}); // It fails for the same reason as the statement before.
  }
}

/** Records a delivery of every kind of event, in the transaction that the caller takes back. */
function tryDelivery(sql: Sql): Promise<unknown> {
  const timestamp = Date.now();
  const events = tally([
    { type: "reconciler.action", timestamp, data: { phase: "stuck_orders" } },
    { type: "reconciler.orphan_refund", timestamp },
    { type: "reconciler.sweep", timestamp, data: { duration_seconds: 1 } },
  ]);
  return recordDelivery(sql, { id: `trial ${timestamp}`, increments: events });
}
