import type { Sql } from "postgres";
import { codeOf } from "../../lib/database.ts";
import { recordDelivery } from "../../lib/deliveries.ts";
import { tally } from "../../lib/events.ts";
import { errorFields } from "../../lib/log.ts";
import { lockAndReadTotals } from "../../lib/publish.ts";
import { again, type Finding, well, wrong } from "../finding.ts";
import type { Scene, Session } from "./look.ts";

/** Locks and reads the totals, records a delivery, and takes it back. */
export async function lookAtTotals({ database: { sql }, login, functions }: Scene & Session): Promise<Finding> {
  try {
    // People on call may read them, but not lock them: a publisher would wait.
    await sql.unsafe(
      login === "veza_ledger_oncall" ? "begin; select from ledger_metrics.totals limit 1" : lockAndReadTotals,
    );
    if (!functions.receiver) return well("ledger_metrics is there, and readable");
    await sql.unsafe("rollback; begin");
    await tryDelivery(sql);
    return well("ledger_metrics is there, and writable");
  } catch (error) {
    const remedy = codeOf(error) === "55P03" ? "run it again" : again;
    return wrong(errorFields(error).reason, "that the function can work with them", remedy);
  } finally {
    await sql.unsafe("rollback").catch(() => {}); // For the same reason, when that fails too.
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
