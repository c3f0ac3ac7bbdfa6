// commands/plan/rights.ts: the settings that each login gets, and its clone.

import { readFile } from "node:fs/promises";
import postgres from "postgres";
import { afterAll, expect, it } from "vitest";
import { run as migrate } from "../../commands/migrate.ts";
import { makeAll } from "../../commands/plan/apply.ts";
import { inProcess } from "../helpers/commands.ts";
import { openConnection, serverForFile } from "../helpers/database.ts";

const logins = ["veza_ledger", "veza_ledger_receiver", "veza_ledger_sampler"];
const url = (await serverForFile()).replace(/\w+$/, "ledger");
const admin = postgres(url, { max: 4, onnotice: () => {} });
afterAll(() => admin.end());
for (const login of logins) {
  await admin.unsafe(`alter role ${login} password 'secret'`);
  // As AWS' rotation with alternating users makes the second login.
  await admin.unsafe(`create role ${login}_clone login password 'secret'; grant ${login} to ${login}_clone`);
}

const as = (login: string) => url.replace("postgres:postgres@", `${login}:secret@`);
const run = async (statements: string): Promise<void> => void (await admin.unsafe(statements));
const runRoles = () => makeAll(url);

/** What a session of this login starts with. */
async function settingsOf(login: string): Promise<Record<string, string | null>> {
  const sql = postgres(as(login), { max: 1, fetch_types: false });
  const rows = await sql`select name, current_setting(name) as setting from pg_settings`;
  await sql.end();
  return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
}

const both = { default_transaction_isolation: "read committed", idle_in_transaction_session_timeout: "10s" };
/** A time-out of 0 is no time-out. commands/plan/rights.ts says how long it is. */
const statement_timeout = expect.stringMatching(/^[1-9]/);
const forCounting = { statement_timeout, lock_timeout: "500ms", row_security: "off", TimeZone: "UTC" };
const forEvents = { idle_session_timeout: "1min", synchronous_commit: "on" };
const expected: Record<string, object> = {
  veza_ledger_sampler: { ...both, ...forCounting, default_transaction_read_only: "on" },
  veza_ledger_receiver: { ...both, ...forEvents, statement_timeout: "3s", lock_timeout: "2s" },
  veza_ledger: { ...both, ...forCounting, ...forEvents, default_transaction_read_only: "off" },
};

it("gives every login its settings, whatever the database's own are, the shared one those of both", async () => {
  await run(`
    alter database ledger set default_transaction_isolation = 'serializable';
    alter database ledger set synchronous_commit = off;
    alter database ledger set timezone = 'Europe/Paris'`);
  const [server] = await admin`select current_setting('server_version_num')::int as version`;
  const absent = server?.version < 140_000 ? { idle_session_timeout: undefined } : {}; // It came with PostgreSQL 14.
  for (const login of logins) {
    const settings = await settingsOf(login);
    expect({ ...settings, ...absent }, login).toMatchObject({ ...expected[login], ...absent });
  }
});

it("has twice the connections that serverless.yml lets receivers use: one that ends may leave its own", async () => {
  const [, concurrency] = /receiverConcurrency: (\d+)/.exec(await readFile("serverless.yml", "utf8")) ?? [];
  const limits = await admin`select rolconnlimit from pg_roles where rolname ~ '^veza_ledger(_receiver)?$'`;
  for (const { rolconnlimit } of limits) expect(rolconnlimit).toBeGreaterThanOrEqual(2 * Number(concurrency));
});

it("gives a clone of AWS' rotation the same, when it is run again", async () => {
  for (const login of logins) {
    expect(await settingsOf(`${login}_clone`), login).toMatchObject({ lock_timeout: "0", TimeZone: "Europe/Paris" });
  }
  await runRoles();
  for (const login of logins) expect(await settingsOf(`${login}_clone`), login).toEqual(await settingsOf(login));
});

it("hands the ways to read on from the sampler's role, and only these, and takes them back", async () => {
  const readers = ["veza_ledger_sampler_clone", "veza_ledger", "veza_ledger_clone"];
  const { search_path, statement_timeout } = await settingsOf("veza_ledger");
  const { search_path: ofReceiver } = await settingsOf("veza_ledger_receiver");
  await run(`
    create schema "Views";
    alter role veza_ledger_sampler set timezone = 'America/New_York';
    alter role veza_ledger_sampler in database ledger set search_path = "Views", public;
    alter role veza_ledger_oncall password 'secret'`);
  await runRoles();
  const chosen = { search_path: '"Views", public', TimeZone: "America/New_York" };
  for (const login of readers) expect(await settingsOf(login), login).toMatchObject({ ...chosen, statement_timeout });
  expect(await settingsOf("veza_ledger_oncall")).toMatchObject({ ...chosen, statement_timeout: "10s" });
  expect(await settingsOf("veza_ledger_receiver")).toMatchObject({
    ...{ search_path: ofReceiver, TimeZone: "Europe/Paris" },
  });

  await run(`
    alter role veza_ledger_sampler set timezone = 'UTC';
    alter role veza_ledger_sampler in database ledger reset search_path`);
  await runRoles();
  for (const login of readers) expect(await settingsOf(login), login).toMatchObject({ search_path, TimeZone: "UTC" });
});

it("is taken back whole, clones included", async () => {
  const { output } = await inProcess(migrate, ["--undo"], { DATABASE_URL: url });
  await (await openConnection(url)).sql.unsafe(output);
  expect(await admin`select rolname from pg_roles where rolname like 'veza%'`).toEqual([]);
});
