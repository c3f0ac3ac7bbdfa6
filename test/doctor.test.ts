import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { runSqlFiles } from "../local/sql.ts";
import { startReplica } from "./chaos/servers.ts";
import { createDatabase, type TestDatabase } from "./helpers/database.ts";
import { scrape } from "./helpers/gateway.ts";
import { runScript } from "./helpers/processes.ts";
import { newSecret } from "./helpers/receiver.ts";
import { fakeSecretsManager } from "./helpers/secrets.ts";
import { closedPort } from "./helpers/servers.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.admin.end());

/** Runs the doctor; its lines without the remedies, which start with an arrow, and these by themselves. */
async function doctor(role: string[], settings: Record<string, string | undefined>) {
  const program = runScript("commands/doctor.ts", role, {
    DATABASE_URL: undefined,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: newSecret(),
    SECRET_ID: undefined,
    STAGE: "doctor",
    ...settings,
  });
  await program.exited;
  const lines = program.output().trim().split("\n");
  const isRemedy = (line: string) => line.trim().startsWith("→");
  return {
    exitCode: program.child.exitCode,
    lines: lines.filter((line) => !isRemedy(line)).map((line) => line.replaceAll(/ {2,}/g, " ")),
    remedies: lines.filter(isRemedy).map((line) => line.trim()),
  };
}

it("finds what is missing for the sampler, and after the remedies nothing", async () => {
  // A small table that the planner knows to be small: it would read all of it, index or not.
  await database.admin`insert into refunds (status) select 'succeeded' from generate_series(1, 20)`;
  await database.admin`analyze refunds`;
  const settings = { DATABASE_URL: database.samplerUrl, WEBHOOK_SECRET: undefined };
  await database.admin`revoke select (updated_at) on seller_transfers from veza_ledger_sampler`;
  await database.admin`alter table orders rename hyperswitch_payment_id to gone`;
  const ill = await doctor(["sampler"], settings);
  expect(ill).toEqual({
    exitCode: 1,
    lines: [
      "✓ settings valid",
      expect.stringMatching(/^✓ Postgres [\d.]+ on 127\.0\.0\.1, as veza_ledger_sampler$/),
      "✓ TLS not needed on this machine",
      "✓ role's time-outs statement 1500ms, lock 500ms",
      '✗ check stuck_orders column "hyperswitch_payment_id" does not exist',
      "✗ check stuck_refunds no index serves it: it reads the whole table every minute",
      "✗ check failed_transfers permission denied for table seller_transfers",
      "✗ check orphan_refunds no index serves it: it reads the whole table every minute",
      "✗ check pending_reversals permission denied for table seller_transfers",
      "✓ totals ledger_metrics is there, and readable",
      "✓ Pushgateway accepts a push",
    ],
    remedies: [
      "→ the column is missing: migrate the ledger",
      "→ run config/postgres/indexes.sql",
      "→ the role may not read it: run config/postgres/roles.sql",
      "→ run config/postgres/indexes.sql",
      "→ the role may not read it: run config/postgres/roles.sql",
    ],
  });

  await database.admin`alter table orders rename gone to hyperswitch_payment_id`;
  await runSqlFiles(database.adminUrl, ["config/postgres/roles.sql", "config/postgres/indexes.sql"]);
  const well = await doctor(["sampler"], settings);
  expect(well.lines.filter((line) => !line.startsWith("✓"))).toEqual([]);
  expect(well).toMatchObject({ exitCode: 0, remedies: [] });
  expect(await scrape("doctor")).toEqual({});
});

it("finds what is missing for the receiver, and changes nothing", async () => {
  const settings = { DATABASE_URL: database.receiverUrl };
  expect(await doctor(["receiver"], settings)).toMatchObject({ exitCode: 0, remedies: [] });
  await database.admin`revoke update (value) on ledger_metrics.samples from veza_ledger_receiver`;
  const ill = await doctor(["receiver"], settings);
  expect(ill.exitCode).toBe(1);
  expect(ill.lines).toContain("✗ totals the role may not write to ledger_metrics");
  await database.admin`revoke usage on ledger_metrics.pushes from veza_ledger_receiver`;
  await database.admin`grant update (value) on ledger_metrics.samples to veza_ledger_receiver`;
  expect((await doctor(["receiver"], settings)).lines).toContain("✗ totals the role may not write to ledger_metrics");
  await database.admin`alter schema ledger_metrics rename to elsewhere`;
  const without = await doctor(["receiver"], settings);
  expect(without.lines).toContain('✗ totals schema "ledger_metrics" does not exist');
  expect(without.remedies).toEqual(["→ npm run migrate, then config/postgres/roles.sql"]);
  expect(await database.admin`select * from elsewhere.deliveries`).toEqual([]);
});

it("tells a replica from the primary, which alone the totals are published from", async () => {
  const { exitCode, lines, remedies } = await doctor(["sampler"], { DATABASE_URL: await startReplica() });
  expect(exitCode).toBe(1);
  expect(lines.filter((line) => !line.startsWith("✓"))).toEqual(["✗ totals not published from a replica"]);
  expect(remedies).toEqual(["→ name the primary in DATABASE_URL"]);
});

it("goes on to the gateway when Postgres cannot be reached, and says so of both", async () => {
  const { exitCode, lines, remedies } = await doctor([], {
    DATABASE_URL: `postgres://u:hunter2@127.0.0.1:${closedPort}/x`,
    PUSHGATEWAY_URL: `http://127.0.0.1:${closedPort}`,
  });
  expect(exitCode).toBe(1);
  expect(lines).toEqual([
    "✓ settings valid",
    `✗ Postgres connect ECONNREFUSED 127.0.0.1:${closedPort}`,
    `✗ Pushgateway the push failed: connect ECONNREFUSED 127.0.0.1:${closedPort}`,
  ]);
  expect(remedies).toHaveLength(2);
});

it("names the settings that are wrong, and the secret that cannot be read", async () => {
  expect((await doctor([], { PUSHGATEWAY_URL: undefined })).lines).toEqual([
    "✗ settings DATABASE_URL is missing; PUSHGATEWAY_URL is missing",
  ]);
  await fakeSecretsManager({ there: { DATABASE_URL: database.samplerUrl } });
  const good = await doctor(["sampler"], { SECRET_ID: "there" });
  expect(good.lines.slice(0, 2)).toEqual(["✓ secret there is readable", "✓ settings valid"]);
  expect((await doctor([], { SECRET_ID: "not-there" })).lines).toEqual([
    "✗ secret SECRET_ID: not-there could not be read: ResourceNotFoundException",
  ]);
});

it("says how it is used", async () => {
  expect(await doctor(["everything"], {})).toMatchObject({
    exitCode: 2,
    lines: ["usage: npm run doctor [-- sampler | receiver]"],
  });
});
