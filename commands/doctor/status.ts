// The look "status of …": which statuses of a table nobody watches.
import type { Row } from "postgres";
import { checks } from "../../lib/counts/checks.ts";
import { codeOf } from "../../lib/postgres/database.ts";
import { shellWord } from "../quote.ts";
import { doubt, type Finding, orRemedy, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { readAView } from "./shared-steps.ts";
import { newestOf, newestRows } from "./unwatched.ts";

/** SQLSTATE: its time-out was reached. */
const canceled = "57014";

/** Words for rows that nobody waits for. */
const settledWords = new Set(
  (
    "paid completed complete succeeded success settled captured processed fulfilled shipped delivered closed " +
    "archived failed declined rejected cancelled canceled voided abandoned refunded partially_refunded " +
    "reversed disputed"
  ).split(" "),
);

/**
 * Looks at every status that rows of a table have; of a table that takes too long to read, at those of its newest rows.
 * A status that no check watches, and that is not known to be settled, is a doubt: since a release, stuck rows may have
 * it.
 */
export async function lookAtStatus(
  { ask, settled }: Pick<LedgerScene, "ask" | "settled">,
  table: string,
): Promise<Finding> {
  const question = (rows: string) =>
    `select status::text as status, count(*)::float8 as rows from ${rows} group by 1 order by 2 desc limit 50`;
  let of = "";
  const all = ask(question(`ledger.${table}`)).catch((error) => {
    if (codeOf(error) !== canceled) throw error;
    of = `of the ${newestRows.toLocaleString("en")} newest rows: `;
    return ask(question(newestOf(table)));
  });
  const rows = await orRemedy(all, `read them yourself: ${question(`ledger.${table}`)}`);
  const watched = [...new Set(checks.filter((check) => check.table === table).map(({ status }) => status))];
  const isKnown = (status: string | null) =>
    settled.includes(String(status)) || (status !== null && (watched.includes(status) || settledWords.has(status)));
  const unknown = rows.filter(({ status }) => !isKnown(status));
  if (unknown.length === 0) return well(of + namesOf(rows) || "no row, so no status");
  return doubt(
    `${of}neither watched nor known to be settled: ${namesOf(unknown, "'")}`,
    watched.map((status) => `'${status}'`).join(", "),
    `if nobody waits for such rows: --settled=${shellWord(unknown.map(({ status }) => String(status)).join(","))}`,
    `if a release has renamed a status, ${readAView}`,
  );
}

/** The statuses of rows with their numbers, for people: `paid 690, pending 10`. */
function namesOf(rows: Row[], quote = ""): string {
  const nameOf = (status: string | null) => (status === null ? "null" : quote + status + quote);
  return rows.map(({ status, rows }) => `${nameOf(status)} ${Math.round(rows).toLocaleString("en")}`).join(", ");
}
