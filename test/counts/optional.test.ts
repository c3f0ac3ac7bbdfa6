// The outbox that a ledger may have.
import { expect, it } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { databasePerTest } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";
import { evidenceOf } from "../helpers/sample.ts";

const { database, run } = databasePerTest();

it("says how many deliveries wait in the outbox or are parked, and since when, where there is one", async () => {
  const log = captureLog();
  const outbox = () => evidenceOf(database.samplerUrl, /^outbox/);
  expect(await outbox()).toEqual({});
  await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql"]);
  const none = { "outbox_rows{state=waiting}": 0, "outbox_rows{state=late}": 0, "outbox_rows{state=parked}": 0 };
  expect(await outbox()).toEqual({ ...none, "outbox_oldest_timestamp_seconds{}": 0 });
  await run(`
    insert into ledger_outbox.deliveries (id, body, created_at, sent_at, parked_at) values
      ('a', '[]', to_timestamp(1800000000), null, null), ('b', '[]', to_timestamp(1700000000), null, null),
      ('c', '[]', to_timestamp(1600000000), now(), null), ('d', '[]', to_timestamp(1600000000), null, now()),
      ('e', '[]', now() - interval '14 minutes', null, null), ('f', '[]', now() - interval '16 minutes', null, null)`);
  expect(await outbox()).toEqual({
    "outbox_rows{state=waiting}": 4,
    "outbox_rows{state=late}": 2,
    "outbox_rows{state=parked}": 1,
    "outbox_oldest_timestamp_seconds{}": 1_700_000_000,
  });
  expect(log).toEqual([]);
});
