// Odd ledgers, behind install.sql: each count is right, or unknown with a reason, or an error has named what
// is wrong and nothing was changed. The application sees what it saw.
import postgres from "postgres";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { roles, tables } from "../../commands/declared-rights.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { startPostgres } from "../../local/postgres.ts";
import { forEachCheck } from "../helpers/models.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";

/** A ledger that differs from local/ledger.sql in one thing, with one stuck order. */
interface Odd {
  /** SQL, as the shop's own login. */
  made?: string;
  /** SQL, as the superuser, after that. */
  changed?: string;
  /** LEDGER_SCHEMA, and install.sql's. */
  schema?: string;
  timeZone?: string;
  encoding?: string;
  /** Since this major version of PostgreSQL. */
  from?: number;
  /** What it is told, if install.sql refuses it. */
  refused?: string;
  /** The reason, if the orders' count is unknown. */
  unknown?: string;
}

const columns = "id, status, hyperswitch_payment_id, created_at, updated_at";
const view = (list = columns, more = "") => `create schema veza_ledger_views;
  create view veza_ledger_views.orders ${more} as select ${list} from public.orders;
  create view veza_ledger_views.refunds as table public.refunds;
  create view veza_ledger_views.seller_transfers as table public.seller_transfers`;
const views = "veza_ledger_views";
const into = (schema: string) =>
  [`create schema "${schema}"`, ...tables.map((table) => `alter table ${table} set schema "${schema}"`)].join("; ");
const tenants = `alter table orders enable row level security;
  create policy tenants on orders using (hyperswitch_payment_id = current_setting('app.tenant', true))`;
const partitioned = `alter table orders rename to rest; alter table rest alter id drop identity;
  create table orders (like rest) partition by range (created_at); alter table orders attach partition rest default`;
const withoutZone = (zone: string) => `alter table orders alter created_at drop default;
  alter table orders alter created_at type timestamp using created_at at time zone '${zone}'`;
const hides = "affected by row-level security policy";

const ledgers: Record<string, Odd> = {
  "as the checks know it": {},
  "without updated_at": {
    made: "alter table orders drop updated_at",
    refused: 'column "updated_at" of relation "orders"',
  },
  "without id": { made: "alter table orders drop id", refused: 'column "id" of relation "orders"' },
  "another schema": { made: into("veza"), schema: "veza" },
  "a schema in capitals, with a dash": { made: into("Veza-1"), schema: "Veza-1" },
  "a wrong schema": {
    schema: "nowhere",
    refused: 'schema "nowhere" does not exist',
  },
  "a schema without the tables": {
    made: "create schema empty",
    schema: "empty",
    refused: `relation "empty.${tables[0]}" does not exist`,
  },
  "a schema of the shop's that has our name": {
    made: into("ledger_metrics"),
    schema: "ledger_metrics",
    refused: "somebody else has made the schema ledger_metrics",
  },
  "tables in two schemas": {
    made: "create schema shop; alter table refunds set schema shop",
    refused: 'relation "public.refunds" does not exist',
  },
  "a second ledger in another schema": { made: "create schema old; create table old.orders (like orders)" },
  "policies that the owner is not under": { made: tenants, unknown: hides },
  "forced policies, and a view of the owner's": {
    made: `${tenants}; alter table orders force row level security; ${view()}`,
    schema: views,
    unknown: hides,
  },
  "a view that asks as its caller": {
    made: view(columns, "with (security_invoker)"),
    schema: views,
    from: 15,
    unknown: "permission denied for table orders",
  },
  "a view whose owner may not read the table": {
    made: view(),
    changed: `create role viewer; grant all on schema veza_ledger_views to viewer;
      alter view veza_ledger_views.orders owner to viewer; grant viewer to master with admin option`,
    schema: views,
    unknown: "permission denied for table orders",
  },
  "a view of a column of another name, of a partitioned table": {
    made: `${partitioned}; alter table orders rename status to state;
      ${view("id, state as status, hyperswitch_payment_id, created_at, updated_at")}`,
    schema: views,
  },
  "a partitioned table": { made: partitioned },
  "a renamed status, by a view": {
    made: `update orders set status = 'waiting'; ${view(columns.replace("status", "case status when 'waiting' then 'pending' else status end as status"))}`,
    schema: views,
  },
  "an enum with the checks' values": {
    made: `create type state as enum ('pending', 'paid');
      alter table orders alter status type state using status::state`,
  },
  "a uuid for an id": { made: "alter table orders drop id, add id uuid" },
  "times without a zone, in UTC": { made: withoutZone("UTC") },
  "times without a zone, in Tokyo": { made: withoutZone("Asia/Tokyo"), timeZone: "Asia/Tokyo" },
  "a zone that Postgres does not know": { timeZone: "PST", refused: 'invalid value for parameter "TimeZone"' },
  LATIN1: { encoding: "LATIN1" },
  "PUBLIC without rights": {
    made: into("veza"),
    schema: "veza",
    changed: `revoke all on database odd from public; revoke all on schema public from public, master;
      grant connect on database odd to shop`,
  },
  "hostile settings of the database": {
    made: "create schema evil; create table evil.orders (like orders); create table evil.pg_class (oid oid)",
    changed: `alter database odd set search_path = evil, pg_catalog; alter database odd set timezone = 'Asia/Tokyo';
      alter database odd set statement_timeout = '300ms'; alter database odd set default_transaction_read_only = on;
      alter database odd set row_security = on; alter database odd set standard_conforming_strings = off`,
  },
};

let server: Awaited<ReturnType<typeof startPostgres>>;
const url = (login: string, database = "odd") => `postgres://${login}:${login}@127.0.0.1:${server.port}/${database}`;
async function run(login: string, statements: string, database = "odd"): Promise<postgres.Row[]> {
  const connection = { search_path: "public", statement_timeout: "0", default_transaction_read_only: "off" } as never;
  const sql = postgres(url(login, database), { max: 1, onnotice: () => {}, fetch_types: false, connection });
  return await sql.unsafe(statements).finally(() => sql.end());
}
let version: number;

beforeAll(async () => {
  server = await startPostgres(0);
  await run(
    "postgres",
    "create role master login createrole password 'master'; create role shop login password 'shop'; grant shop to master",
    "postgres",
  );
  const [row] = await run("postgres", "select current_setting('server_version_num')::int / 10000 as major", "postgres");
  version = row?.major;
  return () => server.stop();
});

const seen = async ({ schema = "public" }: Odd) =>
  run("shop", `set search_path = "${schema}"; select count(*) from orders`).catch(String);

/** A superuser is asked for no rights: the ledgers on which these decide. */
const bySuperuser = ["as the checks know it", "a view whose owner may not read the table", "PUBLIC without rights"];
const inTurn = Object.entries(ledgers).flatMap(([what, odd]) =>
  ["master", ...(bySuperuser.includes(what) ? ["postgres"] : [])].map((admin) => [what, admin, odd] as const),
);

describe("set up", () => {
  it.each(inTurn)("%s, by %s", async (_, admin, odd) => {
    const { made = "", changed = "", schema = "public", timeZone = "UTC", encoding = "UTF8", from = 0 } = odd;
    if (version < from) return;
    onTestFinished(async () => {
      await run("postgres", "drop database odd with (force)", "postgres");
      const all = [...Object.keys(roles), "viewer"].join(", ");
      await run("postgres", `drop role if exists ${all}`, "postgres");
    });
    const locale = encoding === "UTF8" ? "" : `encoding '${encoding}' locale 'C' template template0`;
    await run("postgres", `create database odd owner master ${locale}`, "postgres");
    await run("postgres", "grant all on schema public to shop; grant create on database odd to shop");
    await runSqlFiles(url("shop"), ["local/ledger.sql"]);
    await run(
      "shop",
      `insert into orders (status, hyperswitch_payment_id, created_at)
       values ('pending', '1', now() - interval '2 hours'); ${made}`,
    );
    await run("postgres", changed);
    const before = await seen(odd);

    const done = await runSqlFiles(url(admin), setUp, schema, timeZone).catch(({ message }) => message);
    expect(await seen(odd)).toEqual(before);
    if (odd.refused) {
      expect(done).toContain(odd.refused);
      expect(await run("postgres", "select from pg_roles where rolname ~ '^veza_ledger'")).toHaveLength(0);
      return;
    }
    expect(done).toBeUndefined();
    await run("postgres", "alter role veza_ledger_sampler password 'veza_ledger_sampler'");
    const outcomes = await sampleAs(url("veza_ledger_sampler"), { schema, timeZone });
    const { stuck_orders, ...others } = countsIn(outcomes, (error) => (error as Error).message);
    if (odd.unknown) expect(stuck_orders).toContain(odd.unknown);
    else expect(stuck_orders).toBe(1);
    expect({ ...others, stuck_orders: 0 }).toEqual(forEachCheck(() => 0));
  });
});
