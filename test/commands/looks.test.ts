// What the doctor finds, and that each remedy works as it is printed, on a server as on RDS.
import { randomBytes } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { tables } from "../../commands/declared-rights.ts";
import { checks } from "../../lib/counts/checks.ts";
import { doctor } from "../helpers/doctor.ts";
import { type Ledgers, ledgersAsOnRds } from "../helpers/ledgers-as-on-rds.ts";
import { forEachCheck, insertRows, onTable } from "../helpers/models.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";

/** `; ` separates the steps of a remedy. In the texts, DATABASE stands for its name, … for anything. */
interface Row {
  /** SQL, as the superuser. */
  brokenBy?: string;
  /** LEDGER_SCHEMA, and what install.sql is run with before the doctor looks. */
  schema?: string;
  /** What is wrong in DATABASE_URL, until the remedy. */
  wrongUrl?: [right: string, wrong: string];
  /** Without it, the sampler's doctor looks. */
  role?: "receiver" | "both";
  /** Without it, the login of the function. */
  login?: string;
  /** All lines of the doctor that are not ✓. */
  says: string[];
  /** What it prints below the first of them, and what is run then. */
  remedy: string;
  /** What the doctor still says after that. */
  still?: string[];
  /** Statuses that a person says are settled. */
  settled?: string;
  /** Takes back what goes for the whole server. */
  afterwards?: string;
}

/** Lines or statements, one for each check of a table. */
const each = (table: string, text: string, isAffected?: Parameters<typeof onTable>[2]) =>
  Object.entries(onTable(table, text, isAffected)).map(([id, line]) => line.replaceAll("ID", id));
const noIndexes = each("orders", "drop index if exists veza_ledger_ID;").join("");
const unserved = `✗ indexes none serves ${each("orders", "ID").join(", ")}: the whole table is read every minute`;
/** Settled rows: too many to be read every minute. */
const large = (table: string) => `insert into ${table} (status, hyperswitch_payment_id, created_at)
  select 'paid', 'pay', now() - n * interval '1 minute' from generate_series(1, 200000) as n; analyze ${table}`;
const isTimeless = ({ stuckAfterMinutes }: { stuckAfterMinutes?: number }) => stuckAfterMinutes === undefined;
const isPending = ({ status }: { status: string }) => status === "pending";
const stuck = "status = 'pending' and created_at < now() - interval '30 minutes'";
const withoutZone = `alter table orders alter created_at drop default;
  alter table orders alter created_at type timestamp using created_at at time zone 'UTC'`;
const orAnother =
  "if that is the ledger: set LEDGER_SCHEMA=shop, and run install.sql with -v schema=shop; " +
  "if both are, a view of both: docs/what-counts.md";
const again = "run config/postgres/install.sql again: docs/settings.md";
const view = "let the role read a view instead: docs/what-counts.md";
const correct = `correct these rows and what writes them, or ${view}`;
const page = "let a role without a login own a view: docs/what-counts.md, Rows that policies hide";
const indexing =
  "create it, as the tables' owner: docs/settings.md, On large tables; " +
  "if an index of an earlier version has its name, first run config/postgres/indexes.rollback.sql";

const ledger: Record<string, Row> = {
  "row-level security": {
    brokenBy: "alter table orders enable row level security",
    says: ["✗ table orders row-level security is on in veza, so that its counts are unknown"],
    remedy: page,
  },
  "a time without a zone": {
    brokenBy: withoutZone,
    says: ["! time of orders created_at has no zone, and is read in UTC"],
    remedy: "if that is another one, set LEDGER_TIMEZONE: docs/what-counts.md, The zone of times without a zone",
  },
  "a time that is a date": {
    brokenBy: `alter table orders add inserted_at timestamptz; update orders set inserted_at = created_at;
      alter table orders alter created_at drop default, alter created_at type date`,
    says: ["✗ time of orders created_at is a date, which cannot be compared with a time of day"],
    remedy: view,
  },
  "a table in a schema where the role does not look": {
    brokenBy: "set role veza_app; create schema shop; alter table orders set schema shop",
    says: ["✗ table orders it is in shop, and LEDGER_SCHEMA is veza"],
    remedy: "set LEDGER_SCHEMA=shop, and run install.sql with -v schema=shop",
  },
  "an empty table, and another one of its name": {
    brokenBy: `set role veza_app; create schema shop; create table shop.orders (like orders including all);
      insert into shop.orders overriding system value table orders; truncate orders`,
    says: ["! table orders a table in veza, and empty; there is another one in shop"],
    remedy: orAnother,
  },
  "a status that a release has renamed": {
    brokenBy: "update orders set status = 'awaiting_payment' where status = 'pending'",
    says: ["! status of orders neither watched nor known to be settled: 'awaiting_payment' 2"],
    remedy: `if nobody waits for such rows: --settled=awaiting_payment; if a release has renamed a status, ${view}`,
  },
  "statuses that nobody watches": {
    brokenBy: `alter table orders alter status drop not null;
      insert into orders (status) values (null), ('on_hold'), ('on_hold'), ('Pending'), ('Pending'), ('Pending')`,
    says: ["! status of orders neither watched nor known to be settled: 'Pending' 3, 'on_hold' 2, null 1"],
    remedy: `if nobody waits for such rows: --settled=Pending,on_hold,null; if a release …, ${view}`,
    settled: "Pending,on_hold,null",
  },
  "rows without a time": {
    brokenBy: `alter table orders alter created_at drop not null; update orders set created_at = null where ${stuck}`,
    says: each("orders", "✗ check ID rows without created_at: 1; they do not count", isPending),
    remedy: correct,
  },
  "a large table without an index": {
    brokenBy: `${noIndexes} ${large("orders")}`,
    says: [unserved],
    remedy: indexing,
  },
};

const logins: Record<string, Row> = {
  "a database that there is not": {
    wrongUrl: ["/DATABASE", "/nowhere"],
    says: ['✗ Postgres database "nowhere" does not exist'],
    remedy: "name the ledger's database in the URL; psql -l lists them",
  },
  "the login of the other function": {
    wrongUrl: ["veza_ledger_sampler", "veza_ledger_receiver"],
    says: ["✗ login veza_ledger_receiver is for other work"],
    remedy: "put such a login into this secret: are the two secrets swapped?",
  },
  "the login of one function, where both are looked at": {
    role: "both",
    login: "veza_ledger_sampler",
    says: ["✗ login veza_ledger_sampler is for other work"],
    remedy: "look at one function: npm run doctor -- sampler, or npm run doctor -- receiver",
  },
  "a member of our roles": {
    brokenBy: "grant veza_ledger_receiver to veza_app",
    says: ["! neighbours veza_app has the rights of veza_ledger_receiver"],
    remedy: "as a superuser: revoke veza_ledger_receiver from veza_app",
    afterwards: "revoke veza_ledger_receiver from veza_app",
  },
  "an outbox that is a neighbour's": {
    brokenBy: `create table public.ledger_metrics_outbox as select now() as created_at, now() as parked_at, now() as sent_at;
      grant usage on schema public to veza_ledger_sampler;
      grant select on public.ledger_metrics_outbox to veza_ledger_sampler;
      alter table public.ledger_metrics_outbox owner to veza_ledger_oncall`,
    says: [
      "✗ neighbours public.ledger_metrics_outbox belongs to veza_ledger_oncall, who owns no table of the ledger: it is not read",
    ],
    remedy:
      "if it is the reconciler's, in one transaction: alter table public.ledger_metrics_outbox owner to who owns the " +
      "ledger's tables; grant select, insert, update, delete on public.ledger_metrics_outbox to veza_ledger_oncall; " +
      "otherwise have its owner drop it",
  },
  "totals of another stage": {
    brokenBy: "insert into ledger_metrics.stage values ('another')",
    says: [
      "✗ totals the totals in this database are of the stage another, and STAGE here is of the stage …: docs/settings.md",
    ],
    remedy:
      "if the functions are of the stage another: give the doctor their STAGE, as STAGE=another or in their secret; " +
      "if these are two stages: give each a database of its own; " +
      "if the stage was renamed, or the database is a copy: docs/settings.md, One database, one stage",
  },
  "rights of the sampler that were taken away": {
    brokenBy: `revoke select (status, created_at) on orders from veza_ledger_sampler;
      revoke usage on schema ledger_metrics from veza_ledger_sampler`,
    says: [
      "✗ rights veza_ledger_sampler lacks usage on schema ledger_metrics; and 1 more",
      "! status of orders they cannot be read",
      ...each("orders", "✗ check ID permission denied for table orders"),
      "✗ accepted rows permission denied for schema ledger_metrics",
      "✗ totals permission denied for schema ledger_metrics",
    ],
    remedy:
      `${again}; as master: grant usage on schema ledger_metrics to veza_ledger_sampler; ` +
      "as veza_app: grant select (…) on veza.orders to veza_ledger_sampler",
  },
  "rights of the receiver that were taken away": {
    brokenBy: "revoke insert on ledger_metrics.totals from veza_ledger_receiver",
    role: "receiver",
    says: [
      "✗ rights veza_ledger_receiver lacks insert on ledger_metrics.totals",
      "✗ totals permission denied for table totals",
    ],
    remedy: `${again}; as master: grant insert on ledger_metrics.totals to veza_ledger_receiver`,
  },
  "acceptances that match nothing": {
    brokenBy: `insert into ledger_metrics.accepted ("check", id, until, why) values
      ('stuck_orders', 'pay_1', now() + interval '1 day', 'the id of the provider')`,
    says: ["! accepted rows stuck_orders pay_1, until … UTC, by postgres: the id of the provider"],
    remedy:
      "rows that were repaired need this no more. …; as veza_ledger_oncall: begin read write; " +
      'insert into ledger_metrics.accepted ("check", id, until, why) ' +
      "values ('stuck_orders', 'pay_1', now(), 'taken back'); commit",
  },
  "a schema that the role may not use, which is not a wrong LEDGER_SCHEMA": {
    brokenBy: "revoke all on schema veza from public, veza_ledger_sampler",
    says: [
      "✗ rights veza_ledger_sampler lacks usage on schema veza",
      ...tables.map((table) => `✗ table ${table} it is in veza, which the role may not use`),
      "✗ counts all unknown: LEDGER_SCHEMA: veza is not there, or this role may not use it",
    ],
    remedy: `${again}; as veza_app: grant usage on schema veza to veza_ledger_sampler`,
  },
  "a login of a rotation that does not inherit": {
    brokenBy: `create role veza_ledger_sampler_clone login noinherit password 'veza_ledger_sampler_clone';
      grant veza_ledger_sampler to veza_ledger_sampler_clone;
      grant connect on database DATABASE to veza_ledger_sampler_clone`,
    login: "veza_ledger_sampler_clone",
    says: [
      "✗ rights veza_ledger_sampler_clone does not inherit the rights of veza_ledger_sampler",
      ...tables.map((table) => `✗ table ${table} it is in veza, which the role may not use`),
      "✗ counts all unknown: LEDGER_SCHEMA: veza is not there, or this role may not use it",
      "✗ accepted rows permission denied for schema ledger_metrics",
      "✗ totals permission denied for schema ledger_metrics",
    ],
    remedy:
      `${again}; as a superuser: alter role veza_ledger_sampler_clone inherit; ` +
      "grant veza_ledger_sampler to veza_ledger_sampler_clone…",
    afterwards: "drop role veza_ledger_sampler_clone",
  },
  "a login with more rights than it needs": {
    brokenBy: `alter role veza_ledger_receiver bypassrls createdb; create role reporting; create role rds_iam;
      create role veza_ledger_sampler_clone createdb; grant reporting, rds_iam to veza_ledger_receiver; grant update (status) on orders to veza_ledger_sampler`,
    role: "receiver",
    says: [
      "! more rights than it needs veza_ledger_receiver passes row-level security; " +
        "veza_ledger_receiver may create databases; veza_ledger_receiver is a member of reporting; " +
        "veza_ledger_sampler_clone may create databases; veza_ledger_sampler may write veza.orders",
    ],
    remedy:
      "as a superuser: alter role veza_ledger_receiver nobypassrls; " +
      "as a superuser: alter role veza_ledger_receiver nocreatedb; " +
      "as a superuser: revoke reporting from veza_ledger_receiver…",
    afterwards: "drop role reporting, rds_iam, veza_ledger_sampler_clone",
  },
  "a sampler that may write the ledger": {
    brokenBy: "grant update (status) on orders to veza_ledger_sampler",
    says: ["! more rights than it needs veza_ledger_sampler may write veza.orders"],
    remedy:
      "as veza_app: revoke insert, update, delete, truncate, trigger on veza.orders from veza_ledger_sampler; " +
      "if PUBLIC may write there, and nobody needs that: revoke it from public too",
  },
  "plpgsql that nobody may use": {
    brokenBy: "revoke usage on language plpgsql from public",
    role: "receiver",
    says: [
      "✗ rights veza_ledger_receiver lacks usage on language plpgsql",
      "✗ totals permission denied for language plpgsql",
    ],
    remedy: "as postgres: grant usage on language plpgsql to veza_ledger_receiver",
    afterwards: "grant usage on language plpgsql to public",
  },
  "people on call without a function": {
    brokenBy: "drop function ledger_metrics.stuck_orders()",
    says: ["! people on call lack these functions, or these look elsewhere: ledger_metrics.stuck_orders()"],
    remedy: again,
  },
  "a function for people on call that looks elsewhere": {
    brokenBy: `create or replace function ledger_metrics.failed_orphan_refunds()
      returns table (id text, since timestamptz, failed_at timestamptz) language sql as
      'select null::text, null::timestamptz, null::timestamptz'`,
    says: ["! people on call lack these functions, or these look elsewhere: ledger_metrics.failed_orphan_refunds()"],
    remedy: again,
  },
  "people on call who look elsewhere": {
    brokenBy: "alter role veza_ledger_oncall in database DATABASE set timezone = 'Asia/Tokyo'",
    says: ["! people on call look in pg_catalog, pg_temp, in Asia/Tokyo"],
    remedy: again,
  },
  "a schema of this service that is gone": {
    brokenBy: "drop schema ledger_metrics cascade",
    role: "receiver",
    says: [
      '✗ totals … "ledger_metrics… does not exist', // Of the relation or the schema, by version.
    ],
    remedy: again,
  },
  "a database that the role may not connect to": {
    brokenBy: "revoke all on database DATABASE from public, veza_ledger_sampler",
    says: ['✗ Postgres permission denied for database "DATABASE"'],
    remedy: "as the owner of DATABASE: grant connect on database DATABASE to veza_ledger_sampler",
  },
  "a role that may not log in": {
    brokenBy: "alter role veza_ledger_receiver nologin",
    role: "receiver",
    says: ['✗ Postgres role "veza_ledger_receiver" is not permitted to log in'],
    remedy:
      "run config/postgres/roles.sql if there is no such role. Otherwise:; " +
      "as a login that may create roles: alter role veza_ledger_receiver login",
  },
  "a role that has used up its connections": {
    brokenBy: "alter role veza_ledger_receiver connection limit 0",
    role: "receiver",
    says: ["✗ Postgres too many connections for role …"],
    remedy: "see who has them …; as a login that may create roles: alter role veza_ledger_receiver connection limit 50",
  },
  "a role whose password has expired": {
    brokenBy: "alter role veza_ledger_receiver valid until '2020-01-01'",
    role: "receiver",
    says: ["✗ Postgres password authentication failed …"],
    remedy: "the password is wrong, …; or it has expired: have the role valid until 'infinity'",
    afterwards: "alter role veza_ledger_receiver valid until 'infinity'",
  },
  "a ledger without ids, by which nothing can be accepted": {
    brokenBy: "alter table orders drop id",
    says: ["! columns of orders all that the checks read, and no id"],
    remedy: view,
  },
  "a ledger without the times that the runbook reads": {
    brokenBy: "alter table orders drop updated_at",
    says: ["! columns of orders all that the checks read, and no updated_at"],
    remedy: view,
  },
  "a table that is not there": {
    brokenBy: "alter table refunds rename to gone",
    says: ["✗ table refunds there is no such table"],
    remedy: "migrate the ledger, or name its database",
  },
  "an empty table": {
    brokenBy: "create table kept as table refunds; truncate refunds",
    says: ["! table refunds a table in veza, and empty; is the ledger elsewhere?"],
    remedy: "name its database, or its schema by LEDGER_SCHEMA: docs/settings.md",
  },
  "rows ahead": {
    brokenBy: `update orders set created_at = now() + interval '10 minutes' where not (${stuck}) and status = 'pending'`,
    says: each("orders", "✗ check ID rows whose created_at is in the future: 1; they do not count", isPending),
    remedy: correct,
  },
  "a failed transfer without a time, which counts": {
    brokenBy: `alter table seller_transfers alter updated_at drop not null;
      update seller_transfers set updated_at = null where status = 'permanently_failed'`,
    says: each(
      "seller_transfers",
      "! check ID rows without updated_at: 2; they count, without an oldest row",
      isTimeless,
    ),
    remedy: correct,
  },
  "a materialized view, which is as old as its last refresh": {
    brokenBy: `set role veza_app; create schema shown; create materialized view shown.orders as table orders;
      create view shown.refunds as table refunds; create view shown.seller_transfers as table seller_transfers`,
    schema: "shown",
    says: ["! table orders a materialized view in shown; its rows may be old, or by another clock"],
    remedy: `read that, or ${view}`,
  },
  "a server that is not verified": {
    wrongUrl: ["verify-full", "require"],
    says: ["✗ TLS the connection is not verified"],
    remedy: "use sslmode=verify-full",
  },
  "a login without TLS, where that is demanded": {
    wrongUrl: ["verify-full", "disable"],
    says: ["✗ Postgres no pg_hba.conf entry …"],
    remedy: "use ?sslmode=verify-full in the URL, or let this address in by pg_hba.conf",
  },
};

describe("the doctor knows, and is content after its remedy:", () => {
  let ledgers: Ledgers;
  let database: string;
  const setUp = (schema?: string) => ledgers.setUp(database, schema);
  /** As the superuser, who finds the ledger's tables. */
  const run = (statements: string, name = database) =>
    ledgers.run(`set search_path = veza, public; ${statements}`, name);
  const countsOf = async (name: string) =>
    countsIn(await sampleAs(ledgers.url("veza_ledger_sampler", name), { schema: "veza" }), (error) => error);
  /** A row's text, as it is here. */
  const here = (text: string) => text.replaceAll(/\bDATABASE\b/g, database);
  const pattern = (text: string) => {
    const escaped = here(text).replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return expect.stringMatching(new RegExp(`^${escaped.replaceAll("…", ".*")}$`));
  };

  beforeAll(async () => {
    ledgers = await ledgersAsOnRds();
    await ledgers.create("other");
    await run(`truncate ${tables.join(", ")}; ${checks.map((check) => insertRows(check, 7)).join("")}`, "other");
    return () => ledgers.stop();
  });
  beforeEach(async () => {
    database = `ledger_${randomBytes(6).toString("hex")}`;
    await ledgers.create(database);
  });

  /** Runs the commands of a remedy as they are printed. */
  async function apply(steps: string[]): Promise<void> {
    for (const step of steps) {
      const [, who = "", statement] = /^as (.+?): (.+)$/.exec(step) ?? [];
      const login = who === "a superuser" ? "postgres" : /^\w+$/.test(who) ? who : "master";
      if (statement) await run(`set role ${login}; ${statement}`);
      else if (step === again) await setUp();
    }
  }

  it.for(Object.entries({ ...ledger, ...logins }))("%s", async ([, row]) => {
    const { brokenBy, wrongUrl = ["", ""], role = "sampler", schema = "veza", login = `veza_ledger_${role}` } = row;
    onTestFinished(async () => {
      await ledgers.run(`drop database ${database} with (force)`, "postgres");
      if (row.afterwards) await run(row.afterwards, "other");
      expect(await countsOf("other")).toEqual(forEachCheck(() => 7));
    });
    const look = (url: string, ...options: string[]) =>
      doctor([role, ...options], { DATABASE_URL: url, LEDGER_SCHEMA: schema, CA_CERTIFICATES: ledgers.ca });
    if (brokenBy) await run(here(brokenBy));
    if (row.schema) await setUp(row.schema);

    const [right, wrong] = wrongUrl.map(here) as [string, string];
    const url = ledgers.url(login, database);
    const ill = await look(url.replaceAll(right, wrong));
    expect(ill.ill).toEqual(row.says.map(pattern));
    expect(ill.exitCode).toBe(row.says.some((line) => line.startsWith("✗")) ? 1 : 0);
    const [remedy = ""] = ill.remedies;
    expect(remedy).toEqual(pattern(row.remedy));

    // Anything else is for a person to do: counts/reading.test.ts has the views.
    if (!row.settled && !ill.steps.some((step) => /^(as |run config)/.test(step))) return;
    await apply(ill.steps);
    const cured = await (row.settled ? look(url, "--settled", row.settled) : look(url));
    expect(cured.ill).toEqual((row.still ?? []).map(pattern));
    expect(await countsOf(database)).toEqual(forEachCheck(({ stuckAfter }) => (stuckAfter ? 1 : 2)));
  });
});
