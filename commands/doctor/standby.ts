import { doubt, type Finding, well } from "../finding.ts";
import type { Session } from "./look.ts";

/** Whether a failover can lose what was committed. All that a login without further rights can see of it. */
export async function lookAtStandby({ database: { sql } }: Session): Promise<Finding> {
  const [row] = await sql`select count(*)::int as standbys, current_setting('synchronous_standby_names') as synchronous
      from pg_stat_replication`;
  if (!row?.standbys) return well("none is connected");
  if (row.synchronous) return well(`${row.standbys} connected, synchronous_standby_names is set`);
  return doubt(
    "asynchronous: a failover to it loses what was answered in the seconds before",
    "a synchronous standby",
    "set synchronous_standby_names, or know the way back: docs/lost-and-wrong-events.md",
  );
}
