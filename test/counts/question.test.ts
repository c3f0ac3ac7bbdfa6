// How the ledger is asked: settings that each question carries, and answers behind a failure.

import { expect, it } from "vitest";
import { deadlineFor } from "../../lib/deadline.ts";
import { askOn } from "../../lib/postgres/question.ts";
import { recordDelivery } from "../../lib/totals/deliveries.ts";
import { publishTotals } from "../../lib/totals/publish.ts";
import { databasePerTest, lend, openConnection } from "../helpers/database.ts";

const { database, run } = databasePerTest();
const open = async (url: string) => {
  const connection = await openConnection(url);
  return { connection, ask: askOn(connection, deadlineFor("Postgres", 60_000), { search_path: "o'b, public" }) };
};
/** Two rows, and then an error. */
const failing = "select 1 / (3 - n) as n from generate_series(1, 5) as n";

it("asks without row-level security and JIT, in a transaction that leaves no setting on the session", async () => {
  const { connection, ask } = await open(database.samplerUrl);
  const settings = ["row_security", "jit", "search_path"];
  const question = `select ${settings.map((name) => `current_setting('${name}') as ${name}`)}`;
  await connection.sql`set row_security = on`;
  const before = await connection.sql.unsafe(question);
  expect(await ask(question)).toEqual([{ row_security: "off", jit: "off", search_path: "o'b, public" }]);
  expect(await connection.sql.unsafe(question)).toEqual(before);
});

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
