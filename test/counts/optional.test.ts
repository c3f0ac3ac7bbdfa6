// What a ledger may have besides: the money at risk, and an outbox.

import { expect, it } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { databasePerTest } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";
import { evidenceOf } from "../helpers/sample.ts";

const { database, run } = databasePerTest();

it("says what the owner's view puts at risk, and is silent where it is missing or may not be read", async () => {
  const log = captureLog();
  const amounts = () => evidenceOf(database.samplerUrl, /^amount_at_risk/);
  await run("drop view if exists ledger_metrics.amounts_at_risk");
  expect(await amounts()).toEqual({});
  await run(`
    create view ledger_metrics.amounts_at_risk ("check", currency, amount) as
      values ('orphan_refunds', 'EUR', 310.20), ('orphan_refunds', 'USD', 5), ('orphan_refunds', 'EUR', 0.05)`);
  expect(await amounts()).toEqual({});
  await run("grant select on ledger_metrics.amounts_at_risk to veza_ledger_sampler");
  const of = (currency: string) => `amount_at_risk{check=orphan_refunds,currency=${currency}}`;
  expect(await amounts()).toEqual({ [of("EUR")]: 310.25, [of("USD")]: 5 });
  expect(log).toEqual([]);
});

it("says how many deliveries wait in the outbox or are parked, and since when, where there is one", async () => {
  const log = captureLog();
  const outbox = () => evidenceOf(database.samplerUrl, /^outbox/);
  expect(await outbox()).toEqual({});
  await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql", "config/postgres/roles.sql"]);
  const none = { "outbox_rows{state=waiting}": 0, "outbox_rows{state=parked}": 0 };
  expect(await outbox()).toEqual({ ...none, "outbox_oldest_timestamp_seconds{}": 0 });
  await run(`
    insert into ledger_metrics_outbox (id, body, created_at, sent_at, parked_at) values
      ('a', '[]', to_timestamp(1800000000), null, null), ('b', '[]', to_timestamp(1700000000), null, null),
      ('c', '[]', to_timestamp(1600000000), now(), null), ('d', '[]', to_timestamp(1600000000), null, now())`);
  expect(await outbox()).toEqual({
    "outbox_rows{state=waiting}": 2,
    "outbox_rows{state=parked}": 1,
    "outbox_oldest_timestamp_seconds{}": 1_700_000_000,
  });
  expect(log).toEqual([]);
});
