import { checks } from "../lib/counts/checks.ts";
import { deadlineFor } from "../lib/deadline.ts";
import { keepConnections } from "../lib/postgres/connections.ts";
import { withDeadline } from "../lib/postgres/database.ts";
import { parseDatabaseUrl } from "../lib/settings/settings.ts";

/** A row that a check counts. */
export interface CountedRow {
  id: string;
  sinceSeconds: number;
  fires: boolean;
  isAccepted: boolean;
}

/** By a check's id, its first rows, and how many there are. A check whose rows cannot be read is not here. */
export type Rows = Record<string, { first: CountedRow[]; total: number }>;

const shownRows = 4;

/** Returns what reads the first rows of each check, as people on call do: those that fire, then the oldest. */
export function readRowsBy(oncallUrl: string): () => Promise<Rows> {
  const target = parseDatabaseUrl(oncallUrl);
  const connections = keepConnections("veza-demo-rows")(async () => target);
  const question = (id: string) => `
    select id, extract(epoch from since)::float8 as "sinceSeconds", fires, accepted_until is not null as "isAccepted",
      count(*) over ()::int as total
    from ledger_metrics.${id}() limit ${shownRows}`;
  const read = async (id: string): Promise<Rows> => {
    const ask = connections.use((database) =>
      withDeadline(database, deadlineFor("Postgres", 2_000), (sql) =>
        sql.unsafe<(CountedRow & { total: number })[]>(question(id)),
      ),
    );
    return ask.then(
      (rows) => ({ [id]: { first: rows.map(({ total, ...row }) => row), total: rows[0]?.total ?? 0 } }),
      () => ({}),
    );
  };
  return async () => Object.assign({}, ...(await Promise.all(checks.map(({ id }) => read(id)))));
}
