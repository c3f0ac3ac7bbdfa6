import { type Finding, orRemedy, type Scene, well } from "../look.ts";

/** Lists the rows of the ledger that somebody has accepted, one line each: the soonest to run out comes first. */
export async function lookAtAccepted({ ask }: Scene): Promise<Finding> {
  const [table] = await ask("select to_regclass('ledger_metrics.accepted') is not null as exists");
  if (!table?.exists) return well("none: without npm run migrate, no row can be accepted");
  const question = `
    select "check", id, accepted_by, why, to_char(until at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as until
    from ledger_metrics.accepted where until > now() order by accepted.until`;
  const rows = await orRemedy(ask(question), "npm run migrate");
  const lines = rows.map(
    ({ check, id, until, accepted_by, why }) => `${check} ${id}, until ${until} UTC, by ${accepted_by}: ${why}`,
  );
  return well(lines.join(`\n${" ".repeat(31)}`) || "none");
}
