// The look "indexes": whether a check reads the whole of a large table every minute.
import { type Check, checks, questionOf } from "../../lib/counts/checks.ts";
import type { Ask } from "../../lib/postgres/question.ts";
import { type Finding, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

/** The planner's cost of about 100,000 rows without an index, which are read in milliseconds. */
const smallCost = 2_500;

/** Whether an index spares each check that can be asked from reading a whole large table, by the planner's estimate. */
export async function lookAtIndexes({ ask }: LedgerScene): Promise<Finding> {
  const unserved: Check[] = [];
  for (const check of checks) if (await readsWhole(ask, check)) unserved.push(check);
  if (unserved.length === 0) return well("no check reads the whole of a large table");
  const ids = unserved.map(({ id }) => id).join(", ");
  return wrong(
    `none serves ${ids}: the whole table is read every minute`,
    "an index with its condition",
    "create it, as the tables' owner: docs/settings.md, On large tables",
    "if an index of an earlier version has its name, first run config/postgres/indexes.rollback.sql",
  );
}

/** Whether a check reads large tables as a whole. False where its question fails: its own look says why. */
async function readsWhole(ask: Ask, check: Check): Promise<boolean> {
  const [row] = await ask(`explain (format json) ${questionOf(check, { withOldest: true })}`).catch(() => []);
  const [{ Plan: plan } = {}] = row?.["QUERY PLAN"] ?? [];
  return plan !== undefined && scanCostOf(plan) > smallCost;
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
