import os from "node:os";
import type postgres from "postgres";

/** What figures depend on: processors, Node and the PostgreSQL that `sql` is connected to, in one line. */
export async function describeMachine(sql: postgres.Sql): Promise<string> {
  const [shown] = await sql`show server_version`;
  const [processor, ...others] = os.cpus();
  const cpu = `${1 + others.length} x ${processor?.model}, ${os.arch()}`;
  return `${cpu}, Node ${process.version}, PostgreSQL ${shown?.server_version}`;
}
