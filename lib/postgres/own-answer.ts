import { randomUUID } from "node:crypto";
import type { Row, Sql } from "postgres";
import { closedError } from "./database.ts";

/** A server in recovery has answered: it may lag, so that its answer tells nothing. */
export class AnsweredByReplica extends Error {
  constructor() {
    super("a replica: name the primary");
  }
}

/**
 * Sends one message: `begin`, a proof, and `question`, which begins with a select. Resolves to the rows of that.
 *
 * The answer proves that it is this message's own: a token goes out with the message and has to come back. A pooler in
 * transaction mode may give a session the answer of another: PgBouncer before 1.21 does so after a client has gone in
 * mid-pipeline. Such a connection is lost: rejects with the code CONNECTION_CLOSED, and otherwise as postgres.js does.
 *
 * It also proves that the primary gave it: a pooler may send each message of a session to another server. Rejects with
 * AnsweredByReplica where a replica did.
 */
export async function ownAnswer<Answer = Row>(
  sql: Pick<Sql, "unsafe">,
  begin: string,
  question: string,
): Promise<Answer[]> {
  const token = randomUUID();
  const proof = `select '${token}' as token, pg_catalog.pg_is_in_recovery() as is_replica;\n`;
  const answers = await sql.unsafe<Row[][]>(begin + proof + question);
  const place = answers.findIndex((rows) => rows?.[0]?.token === token);
  const answer = answers[place + 1];
  if (place < 0 || !answer) throw closedError("the pooler gave this session an answer of another");
  if (answers[place]?.[0]?.is_replica !== false) throw new AnsweredByReplica();
  return answer as Answer[];
}
