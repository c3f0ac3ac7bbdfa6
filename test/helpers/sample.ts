import { connect } from "../../commands/connect.ts";
import { type Outcome, runChecks } from "../../lib/checks.ts";
import { deadline } from "../../lib/deadline.ts";
import { targetOf } from "./database.ts";

/** What the checks find on a connection of their own, as this login. */
export async function sampleAs(url: string): Promise<Outcome[]> {
  const sampleDeadline = deadline("Postgres", 8_000);
  const connection = await connect(async () => targetOf(url), "test", sampleDeadline);
  const outcomes = await runChecks(connection, sampleDeadline);
  await connection.close();
  return outcomes;
}
