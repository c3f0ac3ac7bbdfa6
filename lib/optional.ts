import { type Check, checks, rowsOf } from "./checks.ts";
import { type Family, family, type Series } from "./exposition.ts";
import { type Ask, measure, read, sqlSeries } from "./question.ts";

// What relations tell that a ledger may have: the money at risk, the rows that a person has accepted, the outbox.

export const optionalMetric = {
  accepted: "veza_ledger_accepted_rows",
  oldestUnaccepted: "veza_ledger_oldest_unaccepted_timestamp_seconds",
  amount: "veza_ledger_amount_at_risk",
  outboxRows: "veza_ledger_outbox_rows",
  outboxOldest: "veza_ledger_outbox_oldest_timestamp_seconds",
} as const;
const { accepted, oldestUnaccepted, amount, outboxRows, outboxOldest } = optionalMetric;

export const optionalFamilies: Family[] = [
  family(
    "gauge",
    accepted,
    "Rows that the check counts and that a person has accepted until a day; absent where nobody has accepted any.",
  ),
  family(
    "gauge",
    oldestUnaccepted,
    "Unix time of the oldest row that the check counts and nobody has accepted, 0 for none; absent like accepted rows.",
  ),
  family("gauge", amount, "Money in the rows that the check counts, by the owner's view."),
  family("gauge", outboxRows, "Deliveries in the reconciler's outbox that are waiting or parked."),
  family("gauge", outboxOldest, "Unix time of the oldest waiting delivery; 0 when none is waiting."),
];

/** The optional relations that this session can read. The witness tells. */
export type Optional = Record<"hasAmounts" | "hasAccepted" | "hasOutbox", boolean>;

/** SQL: the checks with accepted rows. */
const acceptedChecks = `select distinct "check" from ledger_metrics.accepted where until > now()`;

/** SQL: one row for each series, of the rows that the check counts. */
function acceptedOf(check: Check): string {
  const labels = { check: check.id };
  return `
  with accepted as materialized (
    select id from ledger_metrics.accepted where "check" = '${check.id}' and until > now()
  ),
  counted as (
    select ${check.time} as time, coalesce(id::text in (select id from accepted), false) as is_accepted ${rowsOf(check)}
  )
  select series.* from (
    select count(*) filter (where is_accepted) as accepted, count(*) filter (where not is_accepted) as open,
      extract(epoch from (min(time) filter (where not is_accepted and isfinite(time)))::timestamptz) as oldest
    from counted
  ) as seen, lateral (values
    ${sqlSeries(accepted, labels, "accepted")},
    ${sqlSeries(oldestUnaccepted, labels, "(case open when 0 then 0 else oldest end)")}
  ) as series (name, labels, value)`;
}

const amounts = `
  select '${amount}' as name, jsonb_build_object('check', "check", 'currency', currency) as labels, sum(amount) as value
  from ledger_metrics.amounts_at_risk group by "check", currency`;

const outbox = `
  select '${outboxRows}' as name, '{"state": "parked"}'::jsonb as labels, count(*)::numeric as value
  from ledger_metrics_outbox where parked_at is not null
  union all select '${outboxRows}', '{"state": "waiting"}', count(*)
  from ledger_metrics_outbox where parked_at is null and sent_at is null
  union all select '${outboxOldest}', '{}', coalesce(extract(epoch from min(created_at)), 0)
  from ledger_metrics_outbox where parked_at is null and sent_at is null`;

/** A second round trip, and only where something is accepted. */
async function measureAccepted(ask: Ask): Promise<Series[]> {
  const ids = (await read(ask, acceptedChecks)).map(({ check }) => check);
  return await measure(ask, checks.filter(({ id }) => ids.includes(id)).map(acceptedOf));
}

/** Asks, in the counts' round trip, what these relations say. Never rejects: what cannot be measured is absent. */
export async function measureOptional(ask: Ask, { hasAmounts, hasAccepted, hasOutbox }: Optional): Promise<Series[]> {
  const questions = [...(hasAmounts ? [amounts] : []), ...(hasOutbox ? [outbox] : [])];
  return (await Promise.all([measure(ask, questions), hasAccepted ? measureAccepted(ask) : []])).flat();
}
