import { randomUUID } from "node:crypto";
import type { Row, Sql } from "postgres";
import { closedError } from "./database.ts";

/**
 * Sends one message: `begin`, a proof, and `question`, which begins with a select. Resolves to the rows of that.
 *
 * The answer proves that it is this message's own: a token goes out with the message and has to come back. A pooler in
 * transaction mode may give a session the answer of another: PgBouncer before 1.21 does so after a client has gone in
 * mid-pipeline. Such a connection is lost: rejects with the code CONNECTION_CLOSED, and otherwise as postgres.js does.
 */
export async function ownAnswer<Answer = Row>(sql: Sql, begin: string, question: string): Promise<Answer[]> {
  const token = randomUUID();
  const answers = await sql.unsafe<Row[][]>(`${begin}select '${token}' as token;\n${question}`);
  const proof = answers.findIndex((rows) => rows?.[0]?.token === token);
  const answer = answers[proof + 1];
  if (proof < 0 || !answer) throw closedError("the pooler gave this session an answer of another");
  return answer as Answer[];
}
