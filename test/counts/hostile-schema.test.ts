// Whoever may create in the ledger's schema, which is everybody before PostgreSQL 15, can make functions and operators
// there that fit better than Postgres' own. None of them runs as the sampler, or makes a count wrong.

import { readdir } from "node:fs/promises";
import { expect, it } from "vitest";
import { statementsOfTick } from "../../commands/doctor/statements.ts";
import { run as doctor } from "../../commands/doctor.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { checks } from "../../lib/counts/checks.ts";
import { oldestRowsOf } from "../../lib/counts/counted-rows.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { askOn } from "../../lib/postgres/question.ts";
import { inProcess } from "../helpers/commands.ts";
import { databaseForTest, locks, onCall, openConnection } from "../helpers/database.ts";
import { doctorSettings } from "../helpers/doctor.ts";
import { hostile } from "../helpers/hostile.ts";
import { captureLog } from "../helpers/log.ts";
import { forEachCheck, insertRows, providerIds } from "../helpers/models.ts";
import { blocksOf } from "../helpers/pages.ts";
import { countsIn, sampleOf } from "../helpers/sample.ts";

/** What people on call paste into psql, by the pages. */
const pasted = await Promise.all(
  (await readdir("docs/runbook")).map(async (page) => [page, await blocksOf(`docs/runbook/${page}`, "sql")] as const),
);

type Types = [status: string, time: string, providerId: string];
it.each<[orders: Types, refunds: Types, transfers: Types]>([
  [
    ["varchar(20)", "timestamptz", "short"],
    ["state", "timestamp", "varchar(64)"],
    ["short", "moment", ""],
  ],
  [
    ["text_of_ours", "wall_clock", "short"],
    ["short", "moment", "text_of_ours"],
    ["state", "timestamptz", ""],
  ],
])("columns of orders: %j, of refunds: %j, of seller_transfers: %j", async (...types) => {
  const log = captureLog();
  const database = await databaseForTest();
  const run = (statements: string) => database.admin.unsafe(statements);
  await run(hostile(await statementsOfTick()));
  await runSqlFiles(database.adminUrl, setUp); // Nor as an administrator.
  for (const [index, [table, provider]] of Object.entries(providerIds).entries()) {
    const [status, time, providerId] = types[index % types.length] as Types;
    await run(`set search_path = pg_catalog, public;
      alter table ${table} alter status drop default, alter status type ${status} using status::${status},
        alter created_at type ${time}, alter updated_at type ${time}
        ${provider ? `, alter ${provider} type ${providerId}` : ""}`);
  }
  for (const check of checks) await run(`set search_path = pg_catalog, public; ${insertRows(check, 3)}`);
  await run(`set search_path = pg_catalog; update ledger_metrics.first_day set until = now() + '1 day';
    insert into ledger_metrics.accepted ("check", id, until, why)
      values ('stuck_orders', '1', now() + '1 day', 'x'), ('stuck_refunds', '1', now() + '1 day', 'x')`);
  await runSqlFiles(database.adminUrl, setUp);
  const { outcomes, unread, open } = await sampleOf(database.samplerUrl);
  expect(countsIn(outcomes, (error) => error)).toEqual(Object.fromEntries(checks.map(({ id }) => [id, 3])));
  expect([unread, log]).toEqual([[], []]);
  expect(open).toEqual(forEachCheck(() => expect.any(Object)));
  const ask = askOn(await openConnection(database.samplerUrl), deadlineFor("Postgres", 60_000));
  for (const check of checks) await ask(oldestRowsOf(check, false));
  // Nor as people on call, whatever their own search_path is.
  const oncall = onCall(database);
  await oncall.unsafe("set search_path = public, pg_catalog; set default_transaction_read_only = off");
  for (const { id } of checks) {
    const rows = await oncall.unsafe(`select * from ledger_metrics.${id}()`);
    const accepted = rows.filter(({ accepted_until }) => accepted_until !== null);
    expect.soft([id, rows.length, accepted.length]).toEqual([id, 3, 3]);
    const accept = `select * from ledger_metrics.accept('${id}', array['${rows.at(-1)?.id}'], 'x', '2100-01-01')`;
    await expect.soft(oncall.unsafe(accept)).rejects.toThrow("90 days at most");
  }
  await oncall.unsafe("select * from ledger_metrics.failed_orphan_refunds()");
  // Nor by the doctor's own looks, on the catalogues among them.
  const url = database.samplerUrl;
  for (const args of [[url], ["sampler"]]) {
    const { output } = await inProcess(doctor, args, doctorSettings(url));
    expect.soft(output).toMatch(/^[✓!] (stuck_orders +3|counts +stuck_orders 3)/m);
    expect.soft(output).not.toContain("ran as");
  }
  for (const [page, blocks] of pasted) {
    for (const statements of blocks) {
      // As a login of theirs: a role that is only set ends with the first commit, and the rest runs as who has set it.
      const ends = await oncall.unsafe(`reset search_path; ${statements}`).then(() => "well", String);
      expect.soft(ends, page).not.toContain("ran as");
      await oncall.unsafe("rollback");
    }
  }
});

it("a cursor that a view leaves open does not outlive the question: nobody waits for the publishers' lock", async () => {
  const database = await databaseForTest();
  await database.admin.unsafe(`
    create function kept() returns boolean language plpgsql as $$ begin
      lock table ledger_metrics.publisher in row share mode;
      execute 'declare kept cursor with hold for select pg_sleep(600)';
      return true; end $$;
    alter table orders rename to all_orders;
    create view orders as select * from all_orders where kept();
    ${insertRows({ id: "stuck_orders" }, 1).replace("into orders", "into all_orders")}
    grant select on orders to veza_ledger_sampler`);
  const { outcomes } = await sampleOf(database.samplerUrl);
  // A commit that ran the cursor to its end, under the lock, would answer after the sample's deadline.
  expect(countsIn(outcomes, (error) => (error as Error).message)).toMatchObject({ stuck_orders: 1, stuck_refunds: 0 });
  expect(await locks(database, "granted", "ledger_metrics.publisher")).toEqual([]);
});
