// `--sql`: the statements of a tick, for people to paste.
import type { Row } from "postgres";
import { measureOpenRows } from "../../lib/counts/accepted.ts";
import { amounts } from "../../lib/counts/amounts.ts";
import { blindness } from "../../lib/counts/blindness.ts";
import { checks } from "../../lib/counts/checks.ts";
import { oldestRowsOf } from "../../lib/counts/counted-rows.ts";
import { runChecks } from "../../lib/counts/counting.ts";
import { outbox } from "../../lib/counts/outbox.ts";
import { inSchema, measure } from "../../lib/postgres/question.ts";
import { sessionQuestion } from "../../lib/postgres/session-facts.ts";
import { searchPath } from "../../lib/postgres/transaction.ts";
import { sqlText } from "../quote.ts";
import { ledgerOf } from "./settings.ts";

/**
 * Every statement that a tick may ask, in its order, for the ledger that the environment names. The functions that ask
 * are given an `ask` that only notes the question. Throws a SettingsError.
 */
export async function statementsOfTick(): Promise<string> {
  const ledger = ledgerOf(process.env);
  const asked = [
    "-- Ask as the sampler's login: its rights decide what it sees. The outbox may be elsewhere.\n" +
      `set search_path = ${searchPath};\nset timezone = ${sqlText(ledger.timeZone)};\nset row_security = off`,
    "-- Only answers of the primary count: this has to be false.\nselect pg_is_in_recovery() as is_replica",
    sessionQuestion(ledger.schema),
  ];
  const note = async (question: string, answer: Row[] = []) => {
    asked.push(question);
    return answer;
  };
  await runChecks(note);
  await measure(note, [...blindness, amounts, outbox]);
  // A tick asks about accepted rows only where something is accepted: this answer says so of each check.
  const accepted = { checks: checks.map(({ id }) => id), until: 1 };
  await measureOpenRows((question) => note(question, [accepted]));
  asked.push(...checks.map((check) => oldestRowsOf(check, true)));
  return asked.map((question) => `${inSchema(question, ledger)};`).join("\n\n");
}
