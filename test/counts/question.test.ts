// How the ledger is asked: settings that each question carries, and answers behind a failure.

import { expect, it } from "vitest";
import { deadlineFor } from "../../lib/deadline.ts";
import { askOn } from "../../lib/postgres/question.ts";
import { databasePerTest, openConnection } from "../helpers/database.ts";
import { forEachCheck } from "../helpers/models.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";

const { database, run } = databasePerTest();

it("has no holes in an answer behind one that failed in mid-rows", async () => {
  const connection = await openConnection(database.samplerUrl);
  const ask = askOn(connection, deadlineFor("Postgres", 60_000), { search_path: "o'b, public" });
  /** Two rows, and then an error. */
  const failing = "select 1 / (3 - n) as n from generate_series(1, 5) as n";
  const fail = () => expect(connection.sql.unsafe(failing)).rejects.toThrow("division by zero");
  // A statement that is alone, as none of the functions' is behind a failure: postgres.js 3.4.9 shifts its rows.
  await fail();
  expect(await connection.sql.unsafe("select 1 as n")).toHaveLength(3);

  await fail();
  expect(await ask("select n from generate_series(1, 3) as n")).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  await expect(ask(failing)).rejects.toThrow("division by zero");
  expect(await ask("select 1 as n")).toEqual([{ n: 1 }]);
});

it("outlives a transaction_timeout of the database", async ({ skip }) => {
  const [server] = await database.admin`select current_setting('transaction_timeout', true) as timeout`;
  skip(server?.timeout === null, "this PostgreSQL has no transaction_timeout");
  await run(`do $$ begin execute format('alter database %I set transaction_timeout = 100', current_database()); end $$;
    insert into orders (status) values ('paid');
    alter table orders rename to kept; create view orders as select * from kept where pg_sleep(0.3) is not null;
    grant select on orders to veza_ledger_sampler`);
  expect(countsIn(await sampleAs(database.samplerUrl), (error) => error)).toEqual(forEachCheck(() => 0));
});
