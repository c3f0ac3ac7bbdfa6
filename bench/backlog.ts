import postgres from "postgres";
import { runSqlFiles, setUp } from "../commands/sql.ts";
import { checks } from "../lib/counts/checks.ts";
import { startPostgres } from "../local/postgres.ts";
import { askAsTick, fillLedger } from "./ledger.ts";
import { describeMachine } from "./machine.ts";

// npm run bench:backlog [-- <rows>]: what a tick takes with a backlog of so many orders, or of so many rows of each
// check: not accepted, with 20,000 acceptances that have ended, with ten ids accepted, and accepted by a moment.
const rows = Number(process.argv[2] ?? 300_000);
const turns = 15;

const backlogOf = ({ table, time, status, condition = "" }: (typeof checks)[number]) => {
  const provider = /hyperswitch_\w+(?= <> '')/.exec(condition)?.[0];
  return `insert into ${table} (status, ${time}${provider ? `, ${provider}` : ""})
    select '${status}', now() - interval '2 days' - n * interval '1 minute'${provider ? ", 'id_' || n" : ""}
    from generate_series(1, ${rows}) as n`;
};
const accept = (columns: string, values: string, which: string[]) =>
  `insert into ledger_metrics.accepted ("check", ${columns}, until, why)
    select "check", ${values}, now() + interval '9 days', 'known'
    from unnest(array['${which.join("','")}']) as "check"`;

const ended = `insert into ledger_metrics.accepted ("check", id, until, why, accepted_at)
    select 'stuck_orders', n::text, now() - interval '1 hour', 'over', now() - interval '2 hours'
    from generate_series(1, 20000) as n; analyze ledger_metrics.accepted`;

const server = await startPostgres(0, ["-c", "shared_buffers=1GB"]);
const sql = postgres(server.superuserUrl, { max: 1, onnotice: () => {}, fetch_types: false });

/** The median times of a tick in each of these states, in milliseconds. They take turns, since machines have moods. */
async function mediansOf(states: string[]): Promise<number[]> {
  const times = states.map((): number[] => []);
  for (let turn = 0; turn < turns; turn += 1) {
    for (const [index, state] of states.entries()) {
      await sql.unsafe(`truncate ledger_metrics.accepted; ${state}`);
      const startedAt = performance.now();
      await askAsTick(sql);
      times[index]?.push(performance.now() - startedAt);
    }
  }
  return times.map((ofState) => ofState.toSorted((x, y) => x - y)[Math.floor(turns / 2)] ?? Number.NaN);
}

try {
  await runSqlFiles(server.superuserUrl, ["local/ledger.sql", ...setUp]);
  await fillLedger(sql, 100_000);
  console.log(`${await describeMachine(sql)}\n`);
  console.log(`a backlog of ${rows.toLocaleString("en")}  indexes       open, ms   ended, ms  ten ids, ms  moment, ms`);
  let filled: string[] = [];
  for (const which of [["stuck_orders"], checks.map(({ id }) => id)]) {
    for (const check of checks) {
      if (which.includes(check.id) && !filled.includes(check.id)) await sql.unsafe(backlogOf(check));
    }
    filled = which;
    for (const indexes of ["none", "indexes.sql"]) {
      if (indexes !== "none") await runSqlFiles(server.superuserUrl, [`config/postgres/${indexes}`]);
      for (const table of ["orders", "refunds", "seller_transfers"]) await sql.unsafe(`vacuum analyze ${table}`);
      const moments = accept("up_to", "now() - interval '1 day'", which);
      const ids = accept("id", "n::text", which).replace("from ", "from generate_series(1, 10) as n, ");
      const medians = await mediansOf(["", ended, ids, moments]);
      if (indexes !== "none") await runSqlFiles(server.superuserUrl, ["config/postgres/indexes.rollback.sql"]);
      const figures = medians.map((ms) => ms.toFixed(0).padStart(11));
      console.log(
        `${(which.length > 1 ? "each check" : which.join()).padEnd(21)} ${indexes.padEnd(11)}${figures.join("")}`,
      );
    }
  }
} finally {
  await sql.end();
  await server.stop();
}
