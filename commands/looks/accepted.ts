import { type Check, checks, rowsOf } from "../../lib/checks.ts";
import { doubt, type Finding, orRemedy, well } from "../finding.ts";
import { literal } from "../sql.ts";
import type { Session } from "../take-looks.ts";

/**
 * Lists the rows of the ledger that somebody has accepted, one line each: the soonest to run out comes first. An
 * acceptance that no counted row has is a doubt: its id may be of another row, or written in another way.
 */
export async function lookAtAccepted({ ask }: Pick<Session, "ask">): Promise<Finding> {
  const [table] = await ask("select to_regclass('ledger_metrics.accepted') is not null as exists");
  if (!table?.exists) return well("none: without npm run migrate, no row can be accepted");
  const question = `
    select "check", id, accepted_by, why, to_char(until at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as until
    from ledger_metrics.accepted where until > now() order by accepted.until`;
  const rows = await orRemedy(ask(question), "npm run migrate");
  const lines = rows.map(
    ({ check, id, until, accepted_by, why }) => `${check} ${id}, until ${until} UTC, by ${accepted_by}: ${why}`,
  );
  const counted = new Set<string>();
  for (const check of checks.filter(({ id }) => rows.some((row) => row.check === id))) {
    for (const id of await countedIds(check)) counted.add(`${check.id} ${id}`);
  }
  const idle = rows.filter(({ check, id }) => !counted.has(`${check} ${id}`));
  if (idle.length === 0) return well(lines.join("\n") || "none");
  const where = idle.map(({ check, id }) => `(${literal(check)}, ${literal(id)})`).join(", ");
  return doubt(
    lines.join("\n"),
    `rows that count now, and not ${idle.map(({ check, id }) => `${check} ${id}`).join(", ")}`,
    "a row that was repaired needs this no more. Otherwise accept the id that the check's page lists, as it is there",
    {
      as: "veza_ledger_oncall",
      sql: `begin read write; delete from ledger_metrics.accepted where ("check", id) in (${where}); commit`,
    },
  );

  /** The accepted ids that the check counts. Where they cannot be read, its own look says why. */
  async function countedIds(check: Check): Promise<string[]> {
    const accepted = `select id from ledger_metrics.accepted where "check" = '${check.id}'`;
    const found = await ask(`select id from (select id::text ${rowsOf(check)}) as row where id in (${accepted})`);
    return found.map(({ id }) => String(id));
  }
}
