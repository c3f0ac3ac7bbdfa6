import { checks, type Outcome, runChecks } from "./checks.ts";
import { connect, type Database, type FindDatabase, isConnectionLost } from "./database.ts";

/** What the checks found, and the connection at the end of it, for whoever goes on with it and then closes it. */
export interface Sample {
  outcomes: Outcome[];
  connecting: Promise<Database>;
}

/**
 * Connects and runs the five checks. When the session ends in the middle, since Postgres restarts or somebody has ended it,
 * asks what has no answer yet on another one. Dials twice at most, a second log-in with a new password included. Never
 * rejects: without a connection, or when `deadline` aborts, the outcomes are errors, and `connecting` may reject.
 */
export async function takeSample(findDatabase: FindDatabase, name: string, deadline: AbortSignal): Promise<Sample> {
  let dials = 0;
  const dial = (which = checks): Promise<Sample> => {
    const connecting = connect(
      (fresh) => {
        dials += 1;
        return findDatabase(fresh);
      },
      name,
      deadline,
    );
    return runChecks(connecting, deadline, which).then((outcomes) => ({ outcomes, connecting }));
  };

  const first = await dial();
  const wasConnected = await first.connecting.then(Boolean, () => false);
  const unanswered = first.outcomes.filter((outcome) => "error" in outcome && isConnectionLost(outcome.error));
  if (!wasConnected || unanswered.length === 0 || dials > 1) return first;

  const second = await dial(unanswered.map(({ check }) => check));
  const answerTo = (outcome: Outcome) => second.outcomes.find(({ check }) => check === outcome.check) ?? outcome;
  return { outcomes: first.outcomes.map(answerTo), connecting: second.connecting };
}
