import { errorFields, log } from "../log.ts";
import type { Connections } from "../postgres/connections.ts";
import { askOn, read } from "../postgres/question.ts";
import { isAccepted } from "./accepted.ts";
import { type Check, rowsOf } from "./checks.ts";
import type { Sample } from "./sample.ts";

/**
 * SQL: the ids of the ten oldest rows that a check counts. Without accepted rows, which would be the same ten for
 * months.
 */
export const oldestRowsOf = (check: Check, hasAccepted: boolean): string =>
  `select id::text as id ${rowsOf(check)}${hasAccepted ? ` and not ${isAccepted(check)}` : ""}
order by ${check.time} limit 10`;

/**
 * Logs which rows a count above 0 counts, so that a row that is repaired before somebody looks is still known. Takes a
 * round trip only then. Never rejects.
 */
export async function logCountedRows(
  connections: Connections,
  { outcomes, open }: Pick<Sample, "outcomes" | "open">,
  deadline: AbortSignal,
) {
  const counted = outcomes.filter((outcome) => "count" in outcome && outcome.count > 0).map(({ check }) => check);
  if (counted.length === 0) return;
  const logRows = connections.use(async (database) => {
    const ask = askOn(database, deadline);
    await Promise.all(
      counted.map(async (check) => {
        const rows = await read(ask, check.id, oldestRowsOf(check, typeof open[check.id] === "object"));
        if (rows?.length) log("info", "rows counted", { check: check.id, ids: rows.map(({ id }) => id) });
      }),
    );
  });
  await logRows.catch((error) => log("warn", "evidence not read", { of: "rows", ...errorFields(error) }));
}
