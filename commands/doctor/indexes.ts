import { type Check, checks, questionOf } from "../../lib/checks.ts";
import type { Ask } from "../../lib/question.ts";
import { type Finding, well, wrong } from "../finding.ts";
import type { Session } from "./look.ts";

/** The planner's cost of about 100,000 rows without an index, which are read in milliseconds. */
const smallCost = 2_500;

/** Whether an index spares each check that can be asked from reading a whole large table, by the planner's estimate. */
export async function lookAtIndexes({ ask }: Session): Promise<Finding> {
  const unserved: Check[] = [];
  for (const check of checks) if (await readsWhole(ask, check)) unserved.push(check);
  if (unserved.length === 0) return well("no check reads the whole of a large table");
  const ids = unserved.map(({ id }) => id).join(", ");
  return wrong(
    `none serves ${ids}: the whole table is read every minute`,
    "an index with its condition",
    "create it, as the tables' owner: docs/settings.md, On large tables",
  );
}

/** Whether a check reads large tables as a whole. False where its question fails: its own look says why. */
async function readsWhole(ask: Ask, check: Check): Promise<boolean> {
  const explain = "set local max_parallel_workers_per_gather = 0; explain (format json)";
  const [row] = await ask(`${explain} ${questionOf(check, { withOldest: true })}`).catch(() => []);
  let cost = 0;
  JSON.stringify(row, (_, node) => {
    if (node?.["Node Type"] === "Seq Scan") cost += node["Total Cost"];
    return node;
  });
  return cost > smallCost;
}
