// The look "check …": whether the role can ask a check, and whether rows lack the time that it needs.
import type { Row } from "postgres";
import { isAhead } from "../../lib/counts/blindness.ts";
import { type Check, questionOf, stateOf } from "../../lib/counts/checks.ts";
import { errorFields } from "../../lib/log.ts";
import { codeOf } from "../../lib/postgres/database.ts";
import { callOf } from "../command.ts";
import { doubt, type Finding, type Step, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { correctRows, installAgain, readAView } from "./shared-steps.ts";

/** By Postgres' SQLSTATE; the first is of a type that does not take the value. */
const remedies: Record<string, Step> = {
  "22P02": readAView,
  "42501": `${installAgain}; or, where a function behind a view reads it: ${readAView}`,
};

const pasteQuery = `paste its query into psql: ${callOf("doctor")} sampler --sql`;

/**
 * Whether the role can ask a check, and whether the rows in its state have a time that is at most 5 minutes ahead
 * of now. Without such a time, a row is missing from a count that needs the time.
 */
export async function lookAtCheck({ ask }: Pick<LedgerScene, "ask">, check: Check): Promise<Finding> {
  const { table, time, stuckAfter } = check;
  const expected = `each ${time} until now`;
  try {
    await ask(`explain ${questionOf(check, { withOldest: true })}`);
  } catch (error) {
    return wrong(errorFields(error).reason, "a plan of its query", remedies[codeOf(error)] ?? pasteQuery);
  }
  let row: Row | undefined;
  try {
    [row] = await ask(`
      select count(*) filter (where ${time} is null)::float8 as no_time, count(${time})::float8 as ahead
      from ledger.${table} where ${stateOf(check)} and (${time} is null or ${isAhead(time)})`);
  } catch (error) {
    const fact = `can be asked; which rows lack a ${time} is unknown: ${errorFields(error).reason}`;
    return doubt(fact, expected, "if it takes too long, an index helps: docs/settings.md, On large tables");
  }
  const texts = [
    ...(row?.no_time > 0 ? [`rows without ${time}: ${row?.no_time}`] : []),
    ...(row?.ahead > 0 ? [`rows whose ${time} is in the future: ${row?.ahead}`] : []),
  ];
  if (texts.length === 0) return well("can be asked");
  return stuckAfter
    ? wrong(`${texts.join(", ")}; they do not count`, expected, correctRows)
    : doubt(`${texts.join(", ")}; they count, without an oldest row`, expected, correctRows);
}
