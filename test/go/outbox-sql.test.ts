// The outbox's SQL by itself, without Go. go-client.test.ts has what the client does with it.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { databaseForTest } from "../helpers/database.ts";

/** A database of its own with an outbox. */
async function createOutbox() {
  const database = await databaseForTest();
  const make = (url = database.adminUrl) => runSqlFiles(url, ["clients/go/outbox.sql"]);
  await make();
  return { ...database, make };
}

it("runs no function and no operator of whoever may create in public", async () => {
  const { admin, make } = await createOutbox();
  const hostile = "returns boolean language plpgsql as $$ begin raise exception 'ran as %', current_user; end $$";
  const arguments_ = ["text", "name", "oid"];
  for (const type of arguments_) await admin.unsafe(`create function to_regnamespace(${type}) ${hostile}`);
  for (const [left, operator, right] of [
    ["oid", "<>", "oid"],
    ["oid", "=", "oid"],
    ["name", "=", "name"],
    ["name", "=", "text"],
    ["text", "=", "text"],
    ["text", "!~", "text"],
    ["text", "~", "text"],
  ]) {
    await admin.unsafe(`create function "${operator}"(${left}, ${right}) ${hostile};
      create operator ${operator} (leftarg = ${left}, rightarg = ${right}, function = "${operator}")`);
  }
  await admin.unsafe(
    "alter database :name set search_path = public, pg_catalog".replace(":name", admin.options.database),
  );
  await make();
  await admin.unsafe("set search_path = pg_catalog; drop schema ledger_outbox cascade");
  await make();
});

it("refuses a schema that somebody else has made, or may create in", async () => {
  const { admin, make } = await createOutbox();
  const refused = "somebody else has made the schema ledger_outbox, or may create in it";
  const index = () => admin`select to_regclass('ledger_outbox.deliveries_next') as is`;
  await admin`drop index ledger_outbox.deliveries_next`;
  await admin`grant create on schema ledger_outbox to veza_ledger_oncall`;
  await expect(make()).rejects.toThrow(refused);
  await admin`revoke create on schema ledger_outbox from veza_ledger_oncall`;
  await admin`alter schema ledger_outbox owner to veza_ledger_oncall`;
  await expect(make()).rejects.toThrow(refused); // Also as a superuser.
  expect(await index()).toEqual([{ is: null }]);
  await admin`alter schema ledger_outbox owner to postgres`;
  await make();
  expect(await index()).not.toEqual([{ is: null }]);
});

it("grants what people on call and the sampler read, where the logins are there before it, or by another run", async () => {
  const { admin, adminUrl, make } = await createOutbox();
  const ends = () => admin`
    select has_schema_privilege(login, 'ledger_outbox', 'usage') as usage,
      has_column_privilege(login, 'ledger_outbox.deliveries', 'created_at', 'select') as times,
      has_column_privilege(login, 'ledger_outbox.deliveries', 'last_error', 'select') as reasons,
      has_column_privilege(login, 'ledger_outbox.deliveries', 'body', 'select') as bodies
    from unnest('{veza_ledger_sampler,veza_ledger_oncall}'::regrole[]) as login`;
  const theirs = [
    { usage: true, times: true, reasons: false, bodies: false },
    { usage: true, times: true, reasons: true, bodies: false },
  ];
  expect(await ends()).toEqual(theirs);
  await admin`revoke all on schema ledger_outbox from veza_ledger_sampler, veza_ledger_oncall`;
  await runSqlFiles(adminUrl, setUp);
  expect(await ends()).not.toEqual(theirs);
  await make();
  expect(await ends()).toEqual(theirs);
});

it("leaves a migration that goes on in its transaction the search_path that it had", async () => {
  const { admin } = await createOutbox();
  await admin`drop schema ledger_outbox cascade`;
  const outbox = await readFile("clients/go/outbox.sql", "utf8");
  const migration = outbox.replace(/^begin;$/m, "").replace(/^commit;$/m, "");
  await admin`create table migrations (version int)`;
  await admin.unsafe(`${migration}; insert into migrations values (1)`); // One message, and so one transaction.
  expect(await admin`select version from migrations`).toEqual([{ version: 1 }]);
});

/** The SQL that a file of the client has under a name. */
async function sqlIn(file: string) {
  const source = await readFile(`clients/go/ledgermetrics/${file}`, "utf8");
  const part = (name: string) => new RegExp(`${name}(?: =)? \`([^\`]*)\``).exec(source)?.[1] ?? "";
  return { source, part };
}

it("claims by the index alone, without sorting what waits", async () => {
  const { admin } = await createOutbox();
  await admin.unsafe(`insert into ledger_outbox.deliveries (id, body, attempts)
    select 'row-' || n, '[]', n % 3 from generate_series(1, 20000) n;
    analyze ledger_outbox.deliveries`);
  const { source, part } = await sqlIn("send.go");
  const orders = [...source.matchAll(/claim\w+SQL = claimBeginSQL \+ `([^`]*)` \+\s*(newestSQL)?/g)];
  expect(orders).toHaveLength(3);
  for (const [, which = "", newest] of orders) {
    const claim = part("claimBeginSQL") + which + (newest ? part("newestSQL") : "") + part("claimEndSQL");
    const plan = JSON.stringify(await admin.unsafe(`explain ${claim}`));
    expect(plan).toContain("deliveries_next");
    expect(plan).not.toContain("Sort");
  }
});

it("claims without new entries in the indexes, but for a few rows that find no room on their page", async () => {
  const { admin } = await createOutbox();
  const [claimed] = await admin.begin(async (sql) => {
    await sql`insert into ledger_outbox.deliveries (id, body)
      select 'row-' || n, repeat('x', 150) from generate_series(1, 1000) n`;
    await sql`update ledger_outbox.deliveries set claimed_until = now(), first_sent_at = now()`;
    return sql`select pg_stat_get_xact_tuples_hot_updated('ledger_outbox.deliveries'::regclass)::int as without`;
  });
  expect(claimed?.without).toBeGreaterThan(900);
});

it("counts and purges by an index, without reading the ids of one's own that stay for a year", async () => {
  const { admin } = await createOutbox();
  await admin.unsafe(`insert into ledger_outbox.deliveries (id, body, sent_at)
    select 'evt-order-' || n, '[]', now() - interval '15 days' from generate_series(1, 20000) n;
    insert into ledger_outbox.deliveries (id, body, sent_at) values
      ('evt-' || gen_random_uuid(), '[]', now() - interval '15 days'), ('old', '[]', now() - interval '366 days');
    analyze ledger_outbox.deliveries`);
  for (const [index, condition] of [
    ["next", "sent_at is null and parked_at is null"],
    ["parked", "parked_at is not null"],
  ]) {
    const count = `explain select count(*), min(created_at) from ledger_outbox.deliveries where ${condition}`;
    expect(JSON.stringify(await admin.unsafe(count))).toContain(`deliveries_${index}`);
  }
  const { source, part } = await sqlIn("purge.go");
  const conditions = [...source.matchAll(/purgeBeginSQL \+\s*`([^`]*)` \+ purgeEndSQL/g)];
  expect(conditions).toHaveLength(2);
  for (const [, condition = ""] of conditions) {
    const purge = part("purgeBeginSQL") + condition + part("purgeEndSQL");
    const [explained] = await admin.unsafe(`explain (analyze, buffers, format json) ${purge}`);
    const plan = explained?.["QUERY PLAN"]?.at(0)?.Plan ?? {};
    const pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
    expect({ rows: plan["Actual Rows"], isSmall: pages < 50 }, `${pages} pages: ${condition}`).toEqual({
      rows: 1,
      isSmall: true,
    });
  }
});
