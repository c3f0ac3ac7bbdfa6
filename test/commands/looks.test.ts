// What the doctor finds, and that each remedy works, on a server as on RDS.
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
  /** Statuses that a person says are settled. */
  settled?: string;
}

/** Lines or statements, one for each check of a table. */
const each = (table: string, text: string, isAffected?: Parameters<typeof onTable>[2]) =>
  Object.entries(onTable(table, text, isAffected)).map(([id, line]) => line.replaceAll("ID", id));
const noIndexes = each("orders", "drop index if exists veza_ledger_ID;").join("");
const unserved = each("orders", "✗ index of ID none serves it: the whole table is read every minute");
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
  "if the ledger is in another database: name that in the URL";
const again = "run config/postgres/install.sql again: docs/settings.md";
const view = "let the role read a view instead: docs/what-counts.md";
const correct = `correct these rows and what writes them, or ${view}`;
const page = "let a role without a login own a view: docs/what-counts.md, Rows that policies hide";
const indexing = "create it, as the tables' owner: docs/settings.md, On large tables";
/** The counts, where those of these tables fail. */
const unknown = (...of: string[]) =>
  `✗ counts …${checks.flatMap(({ id, table }) => (of.includes(table) ? [`${id} unknown`] : [])).join("…")}…`;

const ledger: Record<string, Row> = {
  "row-level security": {
    brokenBy: "alter table orders enable row level security",
    says: ["✗ table orders row-level security is on in veza, so that its counts are unknown", unknown("orders")],
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
    says: ["✗ time of orders created_at is a date, which cannot be compared with a time of day", unknown("orders")],
    remedy: view,
  },
  "a table in a schema where the role does not look": {
    brokenBy: "set role veza_app; create schema shop; alter table orders set schema shop",
    says: ["✗ table orders it is in shop, and LEDGER_SCHEMA is veza", unknown("orders")],
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
    says: unserved,
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
  "an outbox that is a neighbour's": {
    brokenBy: `create table public.ledger_metrics_outbox as select now() as created_at, now() as parked_at, now() as sent_at;
      grant usage on schema public to veza_ledger_sampler;
      grant select on public.ledger_metrics_outbox to veza_ledger_sampler;
      alter table public.ledger_metrics_outbox owner to veza_ledger_oncall`,
    says: [
      "✗ outbox public.ledger_metrics_outbox belongs to veza_ledger_oncall, who owns no table of the ledger: it is not read",
    ],
    remedy: "if it is the reconciler's, give it to that owner, …; otherwise have its owner drop it",
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
      "✗ rights veza_ledger_sampler lacks select (created_at) on veza.orders; and 2 more",
      "✗ status of orders permission denied for table orders",
      ...each("orders", "✗ check ID permission denied for table orders"),
      unknown("orders"),
      "✗ accepted rows permission denied for schema ledger_metrics",
      "✗ totals permission denied for schema ledger_metrics",
    ],
    remedy: again,
  },
  "rights of the receiver that were taken away": {
    brokenBy: "revoke insert on ledger_metrics.totals from veza_ledger_receiver",
    role: "receiver",
    says: [
      "✗ rights veza_ledger_receiver lacks insert on ledger_metrics.totals",
      "✗ totals permission denied for table totals",
    ],
    remedy: again,
  },
  "a schema that the role may not use, which is not a wrong LEDGER_SCHEMA": {
    brokenBy: "revoke all on schema veza from public, veza_ledger_sampler",
    says: [
      "✗ rights veza_ledger_sampler lacks usage on schema veza",
      ...tables.map((table) => `✗ table ${table} permission denied for schema veza`),
      unknown(...tables),
    ],
    remedy: again,
  },
  "people on call without their lists": {
    brokenBy: "drop function ledger_metrics.stuck_orders()",
    says: ["! people on call have no lists"],
    remedy: again,
  },
  "people on call whose lists look elsewhere": {
    brokenBy: `create or replace function ledger_metrics.stuck_orders()
      returns table (id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text,
        hyperswitch_payment_id text)
      language sql set timezone = UTC as 'select null, now(), true, now(), null, null from pg_class'`,
    says: ["! people on call look in another schema or zone than the sampler"],
    remedy: again,
  },
  "people on call whose lists look in another zone": {
    brokenBy: "alter function ledger_metrics.stuck_orders() set timezone = 'Asia/Tokyo'",
    says: ["! people on call look in another schema or zone than the sampler"],
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
    remedy: again,
  },
  "a ledger without ids, by which nothing can be accepted": {
    brokenBy: "alter table orders drop id",
    says: ["✗ columns of orders there is no id"],
    remedy: `migrate the ledger, or ${view}`,
  },
  "a table that is not there": {
    brokenBy: "alter table refunds rename to gone",
    says: ["✗ table refunds there is no such table in the database DATABASE", unknown("refunds")],
    remedy: "name the ledger's database in the URL, or migrate it",
  },
  "an empty table": {
    brokenBy: "create table kept as table refunds; truncate refunds",
    says: ["! table refunds a table in veza, and empty; is the ledger elsewhere?"],
    remedy: "if the ledger is in another database: name that in the URL",
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

  it.for(Object.entries({ ...ledger, ...logins }))("%s", async ([, row]) => {
    const { brokenBy, wrongUrl = ["", ""], role = "sampler", login = `veza_ledger_${role}` } = row;
    onTestFinished(async () => {
      await ledgers.run(`drop database ${database} with (force)`, "postgres");
      expect(await countsOf("other")).toEqual(forEachCheck(() => 7));
    });
    const look = (url: string, ...options: string[]) =>
      doctor([role, ...options], { DATABASE_URL: url, LEDGER_SCHEMA: "veza", CA_CERTIFICATES: ledgers.ca });
    if (brokenBy) await run(here(brokenBy));

    const [right, wrong] = wrongUrl.map(here) as [string, string];
    const url = ledgers.url(login, database);
    const ill = await look(url.replaceAll(right, wrong));
    expect(ill.ill).toEqual(row.says.map(pattern));
    expect(ill.exitCode).toBe(row.says.some((line) => line.startsWith("✗")) ? 1 : 0);
    const [remedy = ""] = ill.remedies;
    expect(remedy).toEqual(pattern(row.remedy));

    // Anything else is for a person to do: counts/reading.test.ts has the views.
    if (ill.steps.includes(again)) await ledgers.setUp(database);
    else if (!row.settled) return;
    const cured = await (row.settled ? look(url, "--settled", row.settled) : look(url));
    expect(cured.ill).toEqual([]);
    expect(await countsOf(database)).toEqual(forEachCheck(({ stuckAfter }) => (stuckAfter ? 1 : 2)));
  });
});
