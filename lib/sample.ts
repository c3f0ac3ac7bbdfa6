import { checks, type Outcome, runChecks } from "./checks.ts";
import { type Connections, isConnectionLost, withDeadline } from "./database.ts";

/**
 * Runs the checks. When the session ends in mid-tick, as in a restart of Postgres, retries unanswered checks once on a new
 * connection. Never rejects: without a connection, or when `deadline` aborts, the outcomes are errors.
 */
export async function takeSample(connections: Connections, deadline: AbortSignal): Promise<Outcome[]> {
  const ask = (which: typeof checks): Promise<Outcome[]> =>
    connections
      .use(async (database) => {
        // postgres.js pipelines on an open connection only; its first query makes a round trip of its own in any case.
        await withDeadline(database, deadline, (sql) => sql.unsafe("select 1"));
        return await runChecks(database, deadline, which);
      })
      .catch((error) => which.map((check) => ({ check, error })));

  const outcomes = await ask(checks);
  const unanswered = outcomes.filter((outcome) => "error" in outcome && isConnectionLost(outcome.error));
  if (unanswered.length === 0 || deadline.aborted) return outcomes;
  const retried = await ask(unanswered.map(({ check }) => check));
  return outcomes.map((outcome) => retried.find(({ check }) => check === outcome.check) ?? outcome);
}
