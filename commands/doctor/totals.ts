// The look "totals": whether the functions can work with the totals.
import { errorFields } from "../../lib/log.ts";
import { codeOf } from "../../lib/postgres/database.ts";
import { AnsweredByReplica, ownAnswer } from "../../lib/postgres/own-answer.ts";
import { AnotherStage, stageName } from "../../lib/totals/another-stage.ts";
import { recordDelivery } from "../../lib/totals/deliveries.ts";
import { zeros } from "../../lib/totals/events.ts";
import { lockAndReadTotals } from "../../lib/totals/publish.ts";
import { roleOf } from "../declared-rights.ts";
import { shellWord } from "../quote.ts";
import { type Finding, well, wrong } from "./finding.ts";
import type { InstallationScene } from "./scene.ts";
import { installAgain } from "./shared-steps.ts";

/**
 * Locks and reads the totals, records a delivery that adds 0 to each, and takes it back. The totals have to be of the
 * functions' stage.
 */
export async function lookAtTotals(scene: InstallationScene): Promise<Finding> {
  const { database, login, functions, settings, ask } = scene;
  const { sql } = database;
  try {
    const another = await anotherStage(scene);
    if (another) return another;
    // People on call may read them, but not lock them: a publisher would wait.
    const isOnCall = roleOf(login) === "veza_ledger_oncall";
    await (isOnCall ? ask("select from ledger_metrics.totals limit 1") : lockAndReadTotals(sql));
    if (!functions.receiver) return well("ledger_metrics is there, and readable");
    await ownAnswer(sql, "rollback; begin;\n", "select");
    await recordDelivery(sql, { id: `trial ${Date.now()}`, increments: zeros, stage: settings.stage });
    return well("ledger_metrics is there, and writable");
  } catch (error) {
    if (/^(25006|0A000)$/.test(codeOf(error))) throw new AnsweredByReplica(); // It refuses to begin a write.
    const remedy = codeOf(error) === "55P03" ? "run it again" : installAgain;
    return wrong(errorFields(error).reason, "that the function can work with them", remedy);
  } finally {
    await sql.unsafe("rollback").catch(() => {}); // It fails for the same reason as the statement before.
  }
}

/**
 * What is wrong where the totals are of another stage; undefined where they are not, or of none yet. The doctor may
 * itself lack the functions' STAGE. So it prints no SQL that renames the totals: pasted then, that stops the receiver.
 */
async function anotherStage({ ask, settings: { stage = "" } }: InstallationScene): Promise<Finding | undefined> {
  const [row] = await ask("select stage from ledger_metrics.stage");
  if (!row || row.stage === stage) return undefined;
  const asTheirs = row.stage
    ? `give the doctor their STAGE, as STAGE=${shellWord(row.stage)} or in their secret`
    : "unset STAGE here";
  return wrong(
    new AnotherStage(row.stage, stage).message,
    "one database, one stage",
    `if the functions are of ${stageName(row.stage)}: ${asTheirs}`,
    "if these are two stages: give each a database of its own",
    "if the stage was renamed, or the database is a copy: docs/settings.md, One database, one stage",
  );
}
