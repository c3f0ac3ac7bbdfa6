import { type Family, family } from "../gateway/exposition.ts";
import type { Evidence } from "../postgres/question.ts";

// The sender's outbox, where it is in the ledger's database: clients/go/outbox.sql makes it.

export const outboxMetric = {
  rows: "veza_ledger_outbox_rows",
  oldest: "veza_ledger_outbox_oldest_timestamp_seconds",
} as const;
const { rows, oldest } = outboxMetric;

/**
 * From this age on, a delivery that waits is late: the sender backs off for about a minute, unless the receiver asks
 * for more.
 */
export const outboxLateAfter = "15 minutes";

export const outboxFamilies: Family[] = [
  family(
    "gauge",
    rows,
    `Deliveries in the reconciler's outbox that are waiting, late by over ${outboxLateAfter}, or parked.`,
  ),
  family("gauge", oldest, "Unix time of the oldest waiting delivery; 0 when none is waiting."),
];

const outboxTable = "ledger_outbox.deliveries";
const waiting = `from ${outboxTable} where parked_at is null and sent_at is null`;

export const outbox: Evidence = {
  of: "outbox",
  question: `
  select (select count(*) from ${outboxTable} where parked_at is not null) as parked,
    (select count(*) ${waiting}) as waiting,
    (select count(*) ${waiting} and created_at < now() - interval '${outboxLateAfter}') as late,
    (select coalesce(extract(epoch from min(created_at)), 0)::numeric ${waiting}) as oldest`,
  seriesIn: (row) => [
    [rows, { state: "parked" }, row.parked],
    [rows, { state: "waiting" }, row.waiting],
    [rows, { state: "late" }, row.late],
    [oldest, {}, row.oldest],
  ],
};
