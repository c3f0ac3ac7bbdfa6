import { type Outcome, runChecks } from "./checks.ts";
import { connect, type Database, type FindDatabase, isConnectionLost } from "./database.ts";

/** What the checks found, and the connection that answered last. The caller goes on with it, and closes it. */
export interface Sample {
  outcomes: Outcome[];
  connecting: Promise<Database>;
}

/**
 * Connects and runs the checks. When the session ends in the middle, retries the unanswered checks once on a new
 * connection. Dials twice at most, a log-in with a new password included. Never rejects: without a connection, or when
 * `deadline` aborts, the outcomes are errors, and `connecting` may reject.
 */
export async function takeSample(findDatabase: FindDatabase, name: string, deadline: AbortSignal): Promise<Sample> {
  let dials = 0;
  const findAndCount: FindDatabase = (fresh) => {
    dials += 1;
    return findDatabase(fresh);
  };
  const connecting = connect(findAndCount, name, deadline);
  const outcomes = await runChecks(connecting, deadline);
  const wasConnected = await connecting.then(Boolean, () => false);
  const isUnanswered = (outcome: Outcome) => "error" in outcome && isConnectionLost(outcome.error);
  const unanswered = outcomes.filter(isUnanswered).map(({ check }) => check);
  if (!wasConnected || dials > 1 || unanswered.length === 0) return { outcomes, connecting };

  const reconnecting = connect(findAndCount, name, deadline);
  const answers = await runChecks(reconnecting, deadline, unanswered);
  const answerTo = (outcome: Outcome) => answers.find(({ check }) => check === outcome.check) ?? outcome;
  return { outcomes: outcomes.map(answerTo), connecting: reconnecting };
}
