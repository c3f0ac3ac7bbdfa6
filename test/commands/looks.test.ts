// What the doctor finds, and that its remedies work, on a server as on RDS: its administrator is no superuser and does
// not own the tables, and PUBLIC has no rights.
import { randomBytes } from "node:crypto";
import { beforeAll, expect, it, onTestFinished } from "vitest";
import { tables } from "../../commands/declared-rights.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { checks } from "../../lib/counts/checks.ts";
import { certificatesIn, trustCertificates } from "../../lib/settings/certificates.ts";
import { startAsOnRds } from "../helpers/as-on-rds.ts";
import { doctor, rowsOfEveryKind } from "../helpers/doctor.ts";
import { forEachCheck, insertRows, type Model, onTable } from "../helpers/models.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";

/** In the texts, DATABASE stands for its name, … for anything. */
interface Broken {
  /** SQL, as the superuser, on a ledger with rows of every kind. Each part breaks another look. */
  by: string;
  /** Without it, the sampler's doctor looks. */
  role?: "receiver";
  /** All lines of the doctor that are not ✓, and what it prints below; `; ` separates the steps of a remedy. */
  says: Says[];
  /** Options with which the doctor is content, once the administrator has run install.sql again. */
  cured?: string[];
}

type Says = [line: string, remedy?: string];
/** A line for each check of a table, or for those that are affected, with its remedy. */
const each = (table: string, text: string, remedy = "…", isAffected?: Parameters<typeof onTable>[2]) =>
  Object.keys(onTable(table, "", isAffected)).map((id): Says => [text.replace("ID", id), remedy]);
/** The counts, where those of these tables fail. */
const unknown = (...of: string[]): Says => [
  `✗ counts …${checks.flatMap(({ id, table }) => (of.includes(table) ? [`${id} unknown`] : [])).join("…")}…`,
];
const isTimeless = ({ stuckAfterMinutes }: Model) => stuckAfterMinutes === undefined;
const isPending = ({ status }: { status: string }) => status === "pending";
/** The rows of every kind that are stuck, and not those that were just written. */
const stuck = "status = 'pending' and created_at < now() - interval '1 minute'";
const again = "run config/postgres/install.sql again: docs/settings.md";
const view = "let the role read a view instead: docs/what-counts.md";
const correct = `correct these rows and what writes them, or ${view}`;

const ledgers: Record<string, Broken> = {
  "times without a zone, an empty table, and failed transfers without a time, which count": {
    by: `alter table orders alter created_at drop default;
      alter table orders alter created_at type timestamp using created_at at time zone 'UTC';
      create table kept as table refunds; truncate refunds;
      alter table seller_transfers alter updated_at drop not null;
      update seller_transfers set updated_at = null where status = 'permanently_failed'`,
    says: [
      [
        "! time of orders created_at has no zone, and is read in UTC",
        "if that is another one, set LEDGER_TIMEZONE: docs/what-counts.md, The zone of times without a zone",
      ],
      [
        "! table refunds a table in veza, and empty; is the ledger elsewhere?",
        "if the ledger is in another database: name that in the URL",
      ],
      ...each(
        "seller_transfers",
        "! check ID rows without updated_at: 2; they count, without an oldest row",
        correct,
        isTimeless,
      ),
    ],
  },
  "times that are dates, row-level security, and a table in a schema where the role does not look": {
    by: `alter table orders add inserted_at timestamptz; update orders set inserted_at = created_at;
      alter table orders alter created_at drop default, alter created_at type date;
      alter table refunds enable row level security;
      set role veza_app; create schema shop; alter table seller_transfers set schema shop`,
    says: [
      ["✗ time of orders created_at is a date, which cannot be compared with a time of day", view],
      [
        "✗ table refunds row-level security is on in veza, so that its counts are unknown",
        "let a role without a login own a view: docs/what-counts.md, Rows that policies hide",
      ],
      [
        "✗ table seller_transfers it is in shop, and LEDGER_SCHEMA is veza",
        "set LEDGER_SCHEMA=shop, and run install.sql with -v schema=shop",
      ],
      unknown("orders", "refunds", "seller_transfers"),
    ],
  },
  "rows without a time and ahead, an empty table, and another one of its name": {
    by: `alter table orders alter created_at drop not null;
      update orders set created_at = now() + interval '10 minutes' where not (${stuck}) and status = 'pending';
      update orders set created_at = null where ${stuck};
      set role veza_app; create schema shop; create table shop.refunds (like refunds including all);
      insert into shop.refunds overriding system value table refunds; truncate refunds`,
    says: [
      [
        "! table refunds a table in veza, and empty; there is another one in shop",
        "if that is the ledger: set LEDGER_SCHEMA=shop, and run install.sql with -v schema=shop; " +
          "if the ledger is in another database: name that in the URL",
      ],
      ...each(
        "orders",
        "✗ check ID rows without created_at: 1, rows whose created_at is in the future: 1; they do not count",
        correct,
        isPending,
      ),
    ],
  },
  "a large table without an index, one that is not there, and one without ids": {
    by: `${Object.keys(onTable("orders", ""))
      .map((id) => `drop index veza_ledger_${id};`)
      .join("")}
      alter table orders set (fillfactor = 10);
      insert into orders (status, hyperswitch_payment_id, created_at)
        select 'paid', 'pay', now() - n * interval '1 minute' from generate_series(1, 30000) as n; analyze orders;
      alter table refunds rename to gone; alter table seller_transfers drop id`,
    says: [
      [
        "✗ table refunds there is no such table in the database DATABASE",
        "name the ledger's database in the URL, or migrate it",
      ],
      ["✗ columns of seller_transfers there is no id", `migrate the ledger, or ${view}`],
      ...each(
        "orders",
        "✗ index of ID none serves it: the whole table is read every minute",
        "create it, as the tables' owner: docs/settings.md, On large tables",
      ),
      unknown("refunds"),
    ],
  },
  "an outbox that was made before the logins, lists that look in another zone, and totals of another stage": {
    by: `create schema ledger_outbox;
      create table ledger_outbox.deliveries as select now() as created_at, now() as parked_at, now() as sent_at;
      alter function ledger_metrics.stuck_orders() set timezone = 'Asia/Tokyo';
      insert into ledger_metrics.stage values ('another')`,
    says: [
      [
        "✗ rights veza_ledger_sampler lacks usage on schema ledger_outbox",
        "have the owner of ledger_outbox run clients/go/outbox.sql again",
      ],
      ["! people on call look in another schema or zone than the sampler", again],
      [
        "✗ totals the totals in this database are of the stage another, and STAGE here is of the stage …: docs/settings.md",
        "if the functions are of the stage another: give the doctor their STAGE, as STAGE=another or in their secret; " +
          "if these are two stages: give each a database of its own; " +
          "if the stage was renamed, or the database is a copy: docs/settings.md, One database, one stage",
      ],
    ],
  },
  "rights of the sampler that were taken away, and lists that look elsewhere": {
    by: `revoke select (status, created_at) on orders from veza_ledger_sampler;
      revoke usage on schema ledger_metrics from veza_ledger_sampler;
      create or replace function ledger_metrics.stuck_orders()
      returns table (id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text,
        hyperswitch_payment_id text)
      language sql set timezone = UTC as 'select null, now(), true, now(), null, null from pg_class'`,
    says: [
      ["✗ rights veza_ledger_sampler lacks select (created_at) on veza.orders; and 2 more", again],
      ["✗ status of orders permission denied for table orders"],
      ...each("orders", "✗ check ID permission denied for table orders"),
      ["! people on call look in another schema or zone than the sampler", again],
      unknown("orders"),
      ["✗ accepted rows permission denied for schema ledger_metrics", again],
      ["✗ totals permission denied for schema ledger_metrics", again],
    ],
    cured: [],
  },
  "rights of the receiver that were taken away": {
    by: "revoke insert on ledger_metrics.totals from veza_ledger_receiver",
    role: "receiver",
    says: [
      ["✗ rights veza_ledger_receiver lacks insert on ledger_metrics.totals", again],
      ["✗ totals permission denied for table totals", again],
    ],
    cured: [],
  },
  "a schema that the role may not use, which is not a wrong LEDGER_SCHEMA": {
    by: "revoke all on schema veza from public, veza_ledger_sampler",
    says: [
      ["✗ rights veza_ledger_sampler lacks usage on schema veza", again],
      ...tables.map((table): Says => [`✗ table ${table} permission denied for schema veza`, again]),
      unknown(...tables),
    ],
    cured: [],
  },
  "a schema of this service that is gone, and statuses that nobody watches": {
    by: `drop schema ledger_metrics cascade; alter table orders alter status drop not null;
      insert into orders (status) values (null), ('on_hold'), ('on_hold'), ('Pending'), ('Pending'), ('Pending')`,
    says: [
      [
        "! status of orders neither watched nor known to be settled: 'Pending' 3, 'on_hold' 2, null 1",
        `if nobody waits for such rows: --settled=Pending,on_hold,null; if a release has renamed a status, ${view}`,
      ],
      ["! people on call have no lists", again],
      ['✗ accepted rows … "ledger_metrics… does not exist', again], // Of the relation or the schema, by version.
      ['✗ totals … "ledger_metrics… does not exist', again],
    ],
    cured: ["--settled=Pending,on_hold,null"],
  },
  "a database that the role may not connect to": {
    by: "revoke all on database DATABASE from public, veza_ledger_sampler",
    says: [['✗ Postgres permission denied for database "DATABASE"', again]],
    cured: [],
  },
};

let server: Awaited<ReturnType<typeof startAsOnRds>>;
/** As the superuser, who finds the ledger's tables. */
const run = (statements: string, database: string) =>
  server.run(`set search_path = veza, public; ${statements}`, "postgres", database);
const install = (database: string) => runSqlFiles(server.as("master", database), setUp, "veza");
const urlOf = (login: string, database: string) => server.as(login, database);
const countsOf = async (database: string) =>
  countsIn(await sampleAs(urlOf("veza_ledger_sampler", database), { schema: "veza" }), (error) => error);
const look = async (role: string, url: string, ...options: string[]) => {
  const settings = { DATABASE_URL: url, LEDGER_SCHEMA: "veza", CA_CERTIFICATES: server.certificates };
  const { exitCode, findings } = await doctor([role, ...options], settings);
  const ill = findings.filter(({ line }) => /^[!✗]/.test(line)).map(({ line, steps }) => [line, steps.join("; ")]);
  return { exitCode, ill };
};
/** What the doctor has to say, in a database of this name. */
const expected = (says: Broken["says"], database: string) => ({
  exitCode: says.some(([line]) => line.startsWith("✗")) ? 1 : 0,
  ill: says.map((texts) =>
    [texts[0], texts[1] ?? "…"].map((text) => {
      const escaped = text.replaceAll("DATABASE", database).replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
      return expect.stringMatching(new RegExp(`^${escaped.replaceAll("…", ".*")}$`));
    }),
  ),
});

/** Makes a ledger of its own from the database `ledger`. */
async function create(database: string): Promise<void> {
  await server.run(
    `create database ${database} template ledger owner master ${server.copying}`,
    "postgres",
    "postgres",
  );
  // A template hands on neither who may connect nor the roles' settings there.
  const copied = "from pg_database as made, pg_database as ledger";
  const which = `made.datname = '${database}' and ledger.datname = 'ledger'`;
  await run(
    `update pg_database set datacl = ledger.datacl ${copied} where ${which} and pg_database.oid = made.oid;
      insert into pg_db_role_setting select made.oid, setrole, setconfig ${copied}, pg_db_role_setting
        where ${which} and setdatabase = ledger.oid`,
    "postgres",
  );
}

beforeAll(async () => {
  server = await startAsOnRds();
  trustCertificates(certificatesIn(server.certificates) ?? []); // As NODE_EXTRA_CA_CERTS makes a process do.
  await server.run("grant veza_app to master; grant create on database ledger to veza_app", "master");
  await install("ledger");
  const logins = ["sampler", "receiver", "oncall"].map((name) => `veza_ledger_${name}`);
  await run(
    `update ledger_metrics.first_day set until = now(); ${rowsOfEveryKind}
    ${logins.map((login) => `alter role ${login} connection limit 50 password '${login}';`).join("")}`,
    "ledger",
  );
  await runSqlFiles(urlOf("veza_app", "ledger"), ["config/postgres/indexes.sql"], "veza");
  await create("other");
  await run(`truncate ${tables.join(", ")}; ${checks.map((check) => insertRows(check, 7)).join("")}`, "other");
  return () => server.stop();
});

it.each(Object.entries(ledgers))("the doctor knows %s, and is content after its remedy", async (_, broken) => {
  const { by, role = "sampler", says, cured } = broken;
  const database = `ledger_${randomBytes(6).toString("hex")}`;
  await create(database);
  onTestFinished(async () => void (await server.run(`drop database ${database} with (force)`, "postgres", "postgres")));
  await run(by.replaceAll("DATABASE", database), database);
  const url = urlOf(`veza_ledger_${role}`, database);
  expect(await look(role, url)).toEqual(expected(says, database));

  // Anything else is for a person to do: counts/reading.test.ts has the views.
  if (!cured) return;
  await install(database);
  expect(await look(role, url, ...cured)).toEqual({ exitCode: 0, ill: [] });
  expect(await countsOf(database)).toEqual(forEachCheck(({ stuckAfter }) => (stuckAfter ? 1 : 2)));
  expect(await countsOf("other")).toEqual(forEachCheck(() => 7));
});

it.each([
  [
    "sampler",
    "/other",
    "/nowhere",
    '✗ Postgres database "nowhere" does not exist',
    "name the ledger's database in the …",
  ],
  [
    "sampler",
    "veza_ledger_sampler",
    "veza_ledger_receiver",
    "✗ login veza_ledger_receiver is for other work",
    "put such a login into this secret: are the two secrets swapped?",
  ],
  [
    "both",
    "",
    "",
    "✗ login veza_ledger_sampler is for other work",
    "look at one function: npm run doctor -- sampler, or npm run doctor -- receiver",
  ],
  ["sampler", "verify-full", "require", "✗ TLS the connection is not verified", "use sslmode=verify-full"],
  [
    "sampler",
    "verify-full",
    "disable",
    "✗ Postgres no pg_hba.conf entry …",
    "use ?sslmode=verify-full in the URL, or let this address in by pg_hba.conf",
  ],
])("the doctor of %s, where the URL has for %j %j, knows why", async (role, right, wrong, line, remedy) => {
  const url = urlOf("veza_ledger_sampler", "other").replaceAll(right, wrong);
  expect(await look(role, url)).toEqual(expected([[line, remedy]], "other"));
});
