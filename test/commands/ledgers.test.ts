// Ledgers that other shops have: each remedy of migrate and of the doctor is done as it is printed. It ends well, or in
// a sentence that says why not, never in a circle. The application sees what it saw, and so does the other ledger.
import { exec } from "node:child_process";
import { promisify } from "node:util";
import postgres from "postgres";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { run as runDoctor } from "../../commands/doctor.ts";
import { run as runMigrate } from "../../commands/migrate.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { startPostgres } from "../../local/postgres.ts";
import { inProcess } from "../helpers/commands.ts";
import { doctorSettings, findingsIn } from "../helpers/doctor.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";

/** A ledger that differs from local/ledger.sql in one thing. */
interface Ledger {
  /** SQL, as the shop's own login, after local/ledger.sql and an order that is stuck. */
  made?: string;
  /** SQL, as the superuser, after that. */
  setUp?: string;
  /** Of the first call of migrate. */
  args?: string[];
  /** Encoding of the database. */
  encoding?: string;
  /** In which schema the application has its orders. */
  schema?: string;
  /** Who migrates, instead of the superuser and of `master`, who is a member of the shop's login. */
  login?: string;
  /** `master` has migrated before, as a member. */
  wasMigrated?: true;
  /** Since this major version of PostgreSQL. */
  from?: number;
  /** Where no remedy can be pasted: what is printed instead, by migrate or the doctor. */
  sentence?: RegExp;
}

const docs = (columns: string, table = "public.orders", more = "") => `create schema veza_ledger_views;
  create view veza_ledger_views.orders ${more} as select ${columns} from ${table}`;
const plain = "id, status, hyperswitch_payment_id, created_at, updated_at";
const views = ["--schema", "veza_ledger_views"];
const into = (schema: string) => `create schema ${schema};
  alter table orders set schema ${schema}; alter table refunds set schema ${schema};
  alter table seller_transfers set schema ${schema}`;
const tenants = `alter table orders enable row level security;
  create policy tenants on orders using (hyperswitch_payment_id = current_setting('app.tenant', true))`;
const forced = `${tenants}; alter table orders force row level security`;
const asView = /let a role without a login own a view/;
const renamed = "alter table orders rename status to state";
const toPartitions = `alter table orders rename to rest; alter table rest alter id drop identity;
  create table orders (like rest) partition by range (created_at); alter table orders attach partition rest default`;

/** As a careful company has it: PUBLIC may do nothing. */
const careful = {
  made: into("veza"),
  schema: "veza",
  setUp: `revoke all on database "odd-ledger" from public; revoke all on schema public from public, master;
    grant connect on database "odd-ledger" to shop, "Read-Only"`,
};
const toVeza = ["--schema", "veza"];

const ledgers: Record<string, Ledger> = {
  "as the checks know it": {},
  "the columns of the README and id": {
    made: `alter table orders drop updated_at; alter table refunds drop updated_at;
      alter table seller_transfers drop created_at`,
  },
  "the columns of the README, and no id": {
    made: "alter table orders drop id; alter table refunds drop id; alter table seller_transfers drop id",
  },
  "a schema in capitals, with a space, a quote, an apostrophe and a comma": {
    made: into(`"My ""o'b"", x"`),
    schema: `"My ""o'b"", x"`,
  },
  "a wrong --schema": { args: ["--schema", "nowhere"] },
  "a schema of the shop's that has our name": {
    made: into("ledger_metrics"),
    schema: "ledger_metrics",
    sentence: /rename your schema/,
  },
  "no member of the shop's login": { ...careful, login: "master" },
  "no member any more": { ...careful, login: "master", wasMigrated: true },
  "no right to anything, and a name in need of quotes": {
    ...{ ...careful, login: "Read-Only", args: toVeza, sentence: /give plan\.sql to your DBA/ },
  },
  "a role that looks elsewhere in this database": {
    ...{ made: into("veza"), schema: "veza" },
    setUp: `alter role veza_ledger_sampler in database "odd-ledger" set search_path = veza_v1, public`,
  },
  "tables in two schemas": { made: "create schema shop; alter table refunds set schema shop" },
  "a second ledger in another schema": {
    made: "create schema old; create table old.orders (like orders including all)",
    sentence: /orders is in old and in public\n.* choose which one/,
  },
  "policies that the owner is not under": { made: tenants, sentence: asView },
  "forced policies, and a view of the owner's": { made: `${forced}; ${docs(plain)}`, args: views, sentence: asView },
  "a view that asks as its caller": {
    made: docs(plain, "public.orders", "with (security_invoker)"),
    args: views,
    from: 15,
  },
  "a view whose owner may not read the table": {
    made: docs(plain),
    setUp: `create role viewer; grant all on schema veza_ledger_views to viewer;
      alter view veza_ledger_views.orders owner to viewer`,
    args: views,
    sentence: asView,
  },
  "a view of a column of another name, of a partitioned table": {
    made: `${renamed}; ${toPartitions}; ${docs("id, state as status, hyperswitch_payment_id, created_at, updated_at")}`,
    args: views,
  },
  "a partitioned table": { made: toPartitions },
  "an enum with the checks' values": {
    made: `create type state as enum ('pending', 'paid');
      alter table orders alter status type state using status::state`,
  },
  "a uuid for an id": { made: "alter table orders drop id, add id uuid" },
  LATIN1: { encoding: "LATIN1" },
  "an administrator without a search_path": { setUp: "alter role ADMIN set search_path = ''" },
  "a login of the application's that reads nothing": {
    setUp: "create role app login; grant usage on schema public to app",
  },
};

let server: Awaited<ReturnType<typeof startPostgres>>;
let version: number;
const url = (login: string, database: string) => `postgres://${login}:${login}@127.0.0.1:${server.port}/${database}`;
/** A superuser's session in each database, since a login takes longer than most statements. */
const sessions = new Map<string, postgres.Sql>();
/** Runs a text as one message, as this role, and resolves to its last rows. */
async function runAs(role: string, statements: string, database: string): Promise<postgres.Row[]> {
  const sql =
    sessions.get(database) ??
    postgres(url("postgres", database), {
      ...{ max: 1, onnotice: () => {}, fetch_types: false },
      // Which wins over the settings of the role.
      connection: { default_transaction_read_only: "off", search_path: '"$user", public' } as never,
    });
  sessions.set(database, sql);
  await sql.unsafe("discard all");
  await sql.unsafe(`set role "${role}"`);
  const rows = (await sql.unsafe(statements)) as unknown[];
  return (Array.isArray(rows.at(-1)) ? rows.at(-1) : rows) as postgres.Row[];
}

beforeAll(async () => {
  server = await startPostgres(0);
  await runAs(
    "postgres",
    `create role master login createrole password 'master'; set role master;
     create role shop login password 'shop'; reset role;
     create role "Read-Only" login createrole password 'Read-Only'`,
    "postgres",
  );
  const [row] = await runAs(
    "postgres",
    "select current_setting('server_version_num')::int / 10000 as major",
    "postgres",
  );
  version = row?.major;
  await makeLedger("other", {});
  expect((await inProcess(runMigrate, [], { DATABASE_URL: url("postgres", "other") })).exitCode).toBe(0);
  for (const name of ["sampler", "receiver", "oncall"]) {
    await runAs(
      "postgres",
      `alter role veza_ledger_${name} password 'veza_ledger_${name}' connection limit 50`,
      "other",
    );
  }
  // Which only a superuser may set in a session.
  await runAs("postgres", "alter role veza_ledger_receiver set log_min_duration_statement = '1min'", "other");
  // As if master had made the roles.
  await runAs(
    "postgres",
    "grant veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall to master with admin option",
    "other",
  );
  return async () => {
    await Promise.all([...sessions.values()].map((sql) => sql.end()));
    await server.stop();
  };
});

async function makeLedger(name: string, { made = "", encoding = "UTF8" }: Ledger): Promise<void> {
  const locale = encoding === "UTF8" ? "" : `encoding '${encoding}' locale 'C'`;
  await runAs("postgres", `create database "${name}" owner master template template0 ${locale}`, "postgres");
  await runAs("postgres", "grant create on schema public to shop; grant usage on schema public to master", name);
  await runAs("postgres", `grant create on database "${name}" to shop`, name);
  await runSqlFiles(url("shop", name), ["local/ledger.sql"]);
  await runAs(
    "shop",
    `insert into orders (status, hyperswitch_payment_id, created_at)
    values ('pending', '1', now() - interval '2 hours'); ${made}`,
    name,
  );
}

/** The superuser is told what `master` is told, but for the first of all ledgers and where more is set up. */
const isForBoth = ({ made, setUp, login }: Ledger) => !login && (setUp || !made);

describe.each(["postgres", "master"])("migrated by %s:", (admin) => {
  const cases = Object.entries(ledgers).filter(([, ledger]) => admin === "master" || isForBoth(ledger));
  it.each(cases)("%s", async (_, ledger) => {
    if (ledger.from && version < ledger.from) return;
    const { login = admin } = ledger;
    const name = "odd-ledger";
    await makeLedger(name, ledger);
    const isMember = admin !== "postgres" && (!ledger.login || ledger.wasMigrated);
    if (isMember) await runAs("master", "grant shop to master", name);
    if (ledger.wasMigrated) {
      expect((await migrate(toVeza, "master", name)()).output).toContain("✓ migrated");
      await runAs("master", "revoke shop from master", name);
    }
    const before = { name: "other", counts: await countsOf("other") };
    if (ledger.setUp) await runAs("postgres", ledger.setUp.replaceAll("ADMIN", admin), name);
    onTestFinished(async () => {
      await sessions.get(name)?.end();
      sessions.delete(name);
      await runAs("postgres", `drop database "${name}" with (force)`, "postgres");
      await runAs(
        "postgres",
        `drop role if exists viewer, app, veza_ledger_views; alter role ${admin} reset all;
         alter role veza_ledger_sampler reset search_path;
         alter role veza_ledger_sampler nobypassrls; alter role veza_ledger_oncall nobypassrls`,
        "postgres",
      );
      await runAs("master", "revoke shop from master", "other");
      expect({ name: "other", counts: await countsOf("other") }).toEqual(before);
    });
    const seenBefore = await seen(name, ledger);

    const said: string[] = [];
    const migrated = await followed(migrate(ledger.args ?? [], login, name), said, login, name);
    const isMigrated = !/^✗ migrated/m.test(migrated);
    const looked = !isMigrated
      ? ""
      : await followed(
          () => inProcess(runDoctor, ["sampler"], doctorSettings(url("veza_ledger_sampler", name))),
          said,
          login,
          name,
        );
    expect(await seen(name, ledger), said.join("\n")).toEqual(seenBefore);
    if (ledger.sentence) {
      expect(said.join("\n")).toMatch(ledger.sentence);
      return;
    }
    const again = (await migrate([], login, name)()).output;
    expect(again + looked, said.join("\n")).not.toMatch(/^✗/m);
    expect((await countsOf(name)).stuck_orders).toBe(1);
  });
});

const countsOf = async (name: string) => countsIn(await sampleAs(url("veza_ledger_sampler", name)), (error) => error);

/** What the application sees as one tenant, and who may get around policies. */
async function seen(name: string, { schema = "public" }: Ledger) {
  const orders = await runAs("shop", `set app.tenant = '2'; select count(*) from ${schema}.orders`, name);
  const roles = await runAs(
    "postgres",
    "select rolname from pg_roles where rolbypassrls and rolcanlogin and rolname !~ '^veza_ledger'",
    name,
  );
  return { orders, roles };
}

type Command = () => Promise<{ output: string }>;
const migrate = (args: string[], admin: string, name: string) => () =>
  inProcess(runMigrate, args, { DATABASE_URL: url(admin, name) });

/** Runs a command, and does what it prints, until there is nothing to do. Resolves to its last lines. */
async function followed(first: Command, said: string[], admin: string, name: string): Promise<string> {
  const done = new Set<string>();
  let command = first;
  for (;;) {
    const { output } = await command();
    said.push(output);
    const wrong = findingsIn(output).filter(({ line }) => /^(✗|! indexes)/.test(line));
    const steps = wrong.flatMap(({ steps }) => steps).filter((step) => /^(as (?!\w+: npm)|npm run migrate)/.test(step));
    const [run] = steps.filter((step) => step.startsWith("npm"));
    for (const step of steps) if (!step.startsWith("npm")) await take(step, admin, name);
    if (steps.length === 0) return output;
    const key = steps.join("\n");
    expect(done.has(key), `a circle:\n${said.join("\n")}`).toBe(false);
    done.add(key);
    if (!run) continue;
    const given = run.split(" -- ")[1];
    const { stdout } = await promisify(exec)(`printf '%s\\n' ${given ?? ""}`);
    const next = migrate(given ? stdout.trimEnd().split("\n") : [], admin, name);
    // What migrate prints is run in its place.
    if (findingsIn(output)[0]?.line.includes("migrated")) command = next;
    else await followed(next, said, admin, name);
  }
}

async function take(step: string, admin: string, name: string): Promise<void> {
  const [, who = "", statement = ""] = /^as (.+?): (.+)$/.exec(step) ?? [];
  if (statement) {
    const role = who === "a superuser" ? "postgres" : /^a login|^the owner of/.test(who) ? admin : who;
    await runAs(role.replaceAll('"', ""), statement, name);
  }
}
