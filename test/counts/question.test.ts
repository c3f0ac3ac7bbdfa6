// How the ledger is asked: settings that each question carries, and answers behind a failure.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { deadlineFor } from "../../lib/deadline.ts";
import { askOn } from "../../lib/postgres/question.ts";
import { recordDelivery } from "../../lib/totals/deliveries.ts";
import { publishTotals } from "../../lib/totals/publish.ts";
import { databasePerTest, lend, openConnection } from "../helpers/database.ts";
import { forEachCheck } from "../helpers/models.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";
import { httpServer } from "../helpers/servers.ts";

const { database, run } = databasePerTest();
const open = async (url: string) => {
  const connection = await openConnection(url);
  return { connection, ask: askOn(connection, deadlineFor("Postgres", 60_000), { search_path: "o'b, public" }) };
};
/** Two rows, and then an error. */
const failing = "select 1 / (3 - n) as n from generate_series(1, 5) as n";

it("has no holes in an answer behind one that failed in mid-rows, whatever asks", async () => {
  const { connection, ask } = await open(database.receiverUrl);
  const fail = () => expect(connection.sql.unsafe(failing)).rejects.toThrow("division by zero");
  // A statement that is alone, as none of the functions' is behind a failure: postgres.js 3.4.9 shifts its rows.
  await fail();
  expect(await connection.sql.unsafe("select 1 as n")).toHaveLength(3);

  await fail();
  expect(await ask("select n from generate_series(1, 3) as n")).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  await expect(ask(failing)).rejects.toThrow("division by zero");
  expect(await ask("select 1 as n")).toEqual([{ n: 1 }]);

  await run(`
    alter table ledger_metrics.totals rename to kept;
    create view ledger_metrics.totals as select 'x' as name, '{}'::jsonb as labels, n as value from (${failing}) as n;
    grant select on ledger_metrics.totals to veza_ledger_receiver`);
  const gateway = { pushgateway: { url: "http://127.0.0.1:1" }, stage: undefined };
  await expect(publishTotals(lend(connection, fail as never), gateway, deadlineFor("test", 60_000))).rejects.toThrow(
    "zero",
  );
  await run("drop view ledger_metrics.totals; alter table ledger_metrics.kept rename to totals");
  const increments = [{ name: "x", labels: {}, value: 1 }];
  expect(await recordDelivery(connection.sql, { id: "a", increments })).toBe("recorded");
});

it("outlives a transaction_timeout of the database: slow counts, and a publish to a slow gateway", async ({ skip }) => {
  const [server] = await database.admin`select current_setting('transaction_timeout', true) as timeout`;
  skip(server?.timeout === null, "this PostgreSQL has no transaction_timeout");
  await run(`do $$ begin execute format('alter database %I set transaction_timeout = 100', current_database()); end $$;
    insert into orders (status) values ('paid');
    alter table orders rename to kept; create view orders as select * from kept where pg_sleep(0.3) is not null;
    grant select on orders to veza_ledger_sampler`);
  expect(countsIn(await sampleAs(database.samplerUrl), (error) => error)).toEqual(forEachCheck(() => 0));
  const url = await httpServer(async (request, response) => {
    request.resume();
    await sleep(300);
    response.end();
  });
  const open = () => openConnection(database.receiverUrl);
  const to = { pushgateway: { url }, stage: undefined };
  expect(await publishTotals(lend(await open(), open), to, deadlineFor("test", 60_000))).toBe(true);
});
