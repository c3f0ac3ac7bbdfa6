// The look "index of …": whether an index serves a check.
import { type Check, questionOf } from "../../lib/counts/checks.ts";
import { type Finding, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

/** The planner's cost of about 100,000 rows without an index, which are read in milliseconds. */
const smallCost = 2_500;

/** Whether an index spares a check from reading the whole of a large table, by the planner's estimate. */
export async function lookAtIndexOf({ ask }: LedgerScene, check: Check): Promise<Finding> {
  const [row] = await ask(`explain (format json) ${questionOf(check, { withOldest: true })}`);
  if (scanCostOf(row?.["QUERY PLAN"][0].Plan) <= smallCost) return well("there, or the table is small");
  return wrong(
    "none serves it: the whole table is read every minute",
    "an index with its condition",
    "create it, as the tables' owner: docs/settings.md, On large tables",
  );
}

/** A node of a plan, in the JSON of EXPLAIN. */
interface PlanNode {
  "Node Type": string;
  "Total Cost": number;
  /** The nodes that it reads from. */
  Plans?: PlanNode[];
}

/** What a plan spends on reading tables as a whole, in the planner's units. */
function scanCostOf(node: PlanNode): number {
  const own = node["Node Type"] === "Seq Scan" ? node["Total Cost"] : 0;
  return (node.Plans ?? []).reduce((cost, below) => cost + scanCostOf(below), own);
}
