// The SQL of the pages, where whoever may create in public, which is everybody before PostgreSQL 15, has made functions,
// operators and types that fit better than Postgres' own, and the login looks in public first. None of them runs.
import { globSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { databaseForFile } from "../helpers/database.ts";
import { hostile } from "../helpers/hostile.ts";
import { blocksOf } from "../helpers/pages.ts";

/** The blocks of each page, each run in a transaction here, and not concurrently. What makes a role calls nothing. */
const pages = await Promise.all(
  globSync("{docs,clients}/**/*.md").map(async (page) => {
    const blocks = (await blocksOf(page, "sql")).filter((block) => !block.includes("create role"));
    const withoutEnds = blocks.map((block) => block.replace(/^begin;\n/, "").replace(/commit;\n$/, ""));
    return { page, blocks: withoutEnds.map((block) => block.replace(" concurrently ", " ")) };
  }),
);
const withSql = pages.filter(({ page, blocks }) => blocks.length > 0 && !page.startsWith("docs/runbook/"));

const claimed = new Date("2026-01-31T12:00:00Z");
/** What a block's parameters are: of the two that enqueue, and of what is written down about a claim. */
function parametersOf(block: string): (string | number | Date)[] {
  if (block.includes("$2::int")) return ["[1, 7]", 1];
  if (block.includes("values ($1, $2)")) return ["new", "[]"];
  const count = Math.max(0, ...[...block.matchAll(/\$(\d)/g)].map(([, number]) => Number(number)));
  return ["claimed", claimed, "why", 1].slice(0, count);
}

/** A row for each state, and one with the id that a person fills in, parked where the block wants it parked. */
const rowsFor = (block: string) => `
  delete from ledger_outbox.deliveries;
  insert into ledger_outbox.deliveries (id, body, parked_at, claimed_until, first_sent_at, sent_at) values
    ('filled-in', '["WRONG"]', ${block.includes("parked_at is not null") ? "now()" : "null"}, null, now(), null),
    ('claimed', '[]', null, '${claimed.toISOString()}', now(), null),
    ('old', '[]', null, null, now() - interval '14 days', null),
    ('evt-' || gen_random_uuid(), '[]', null, null, null, now() - interval '15 days'),
    ('of-ones-own', '[]', null, null, null, now() - interval '2 years')`;

/** How many views and indexes call what is in public, or have one of its types. */
const bound = `
  select from pg_depend where classid in ('pg_rewrite'::regclass, 'pg_class'::regclass) and (
    refclassid = 'pg_proc'::regclass and refobjid in (select oid from pg_proc where pronamespace = 'public'::regnamespace)
    or refclassid = 'pg_operator'::regclass
      and refobjid in (select oid from pg_operator where oprnamespace = 'public'::regnamespace)
    or refclassid = 'pg_type'::regclass and refobjid in (
      select oid from pg_type where typnamespace = 'public'::regnamespace and typtype = 'd'))`;

describe("runs nothing that stands in public", async () => {
  const database = await databaseForFile();
  await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql"]);
  const all = withSql.flatMap(({ blocks }) => blocks).join("\n");
  await database.admin.unsafe(`
    insert into ledger_metrics.stage values ('OLD');
    alter table refunds add order_id int;
    ${hostile(all)};
    create function trap() returns boolean language plpgsql as
      $$ begin raise exception 'ran as %', current_user; end $$;
    ${["text", "jsonb", "float8", "timestamptz"].map((type) => `create domain public.${type} as pg_catalog.${type} check (public.trap());`).join("\n")}`);

  it.each(withSql)("$page", async ({ blocks }) => {
    const session = await database.admin.reserve();
    let before = "";
    for (const block of blocks) {
      if (/^set local search_path = [^;]*;\n$/.test(block)) before = block;
      await session.unsafe("begin");
      if (block.includes("veza_ledger_amounts")) await session.unsafe("create role veza_ledger_amounts");
      await session.unsafe(rowsFor(block));
      await session.unsafe(`set local search_path = public, pg_catalog; ${before}`);
      const filledIn = block.replaceAll("…", "filled-in").replace("EVENTS", "");
      const done = await session.unsafe(filledIn, parametersOf(block)).catch(String);
      expect.soft(done, block).not.toEqual(expect.any(String));
      // What changes no row has called nothing.
      const counts = [done].flatMap((result) =>
        typeof result === "string" ? [] : "count" in result ? [result] : result,
      );
      if (/^(insert|update|delete)/.test(block))
        expect
          .soft(
            counts.map(({ count }) => count),
            block,
          )
          .not.toContain(0);
      if (typeof done !== "string") {
        await session.unsafe("set local search_path = pg_catalog");
        expect.soft(await session.unsafe(bound), block).toEqual([]);
      }
      await session.unsafe("rollback");
    }
    session.release();
  });
});
