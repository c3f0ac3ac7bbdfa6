// What the doctor counts on a ledger where nothing is installed, what it prints, and that it changes nothing.
import { exec } from "node:child_process";
import { promisify } from "node:util";
import postgres from "postgres";
import { afterAll, beforeAll, beforeEach, expect, inject, it, onTestFinished } from "vitest";
import { tables } from "../../commands/declared-rights.ts";
import { countOf } from "../../commands/doctor/counts.ts";
import { run as doctor } from "../../commands/doctor.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { type Check, checks } from "../../lib/counts/checks.ts";
import { inProcess } from "../helpers/commands.ts";
import { databaseForTest, databasePerTest, targetOf, urlAs } from "../helpers/database.ts";
import { inLines } from "../helpers/doctor.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { insertRows } from "../helpers/models.ts";
import { runScript } from "../helpers/processes.ts";
import { startProxy, type TcpProxy } from "../helpers/proxy.ts";
import { evidenceOf } from "../helpers/sample.ts";

const { database, run } = databasePerTest();
// As a stranger has it: the ledger's tables, whose owner is the application's login, and nothing of this service.
let url: string;
beforeAll(
  async () => void (await postgres(inject("adminUrl"), { max: 1 })`create role first_look login password 'look'`),
);
afterAll(async () => void (await postgres(inject("adminUrl"), { max: 1 })`drop role first_look`));
beforeEach(async () => {
  await run(`
    drop schema ledger_metrics cascade; grant create on schema public to first_look;
    grant create on database ${targetOf(database.adminUrl).database} to first_look;
    ${tables.map((name) => `alter table ${name} owner to first_look;`).join("")}`);
  url = urlAs("first_look:look", database.adminUrl);
});

/** As the tables' owner, without any setting of the functions. */
const look = (...options: string[]) => lookWith({}, ...options);

async function lookWith(environment: Record<string, string>, ...options: string[]) {
  const { exitCode, output } = await inProcess(doctor, options, { ...withoutSettings, ...environment });
  return { exitCode, output, text: `${inLines(output)}\n` };
}

it("counts on a ledger where nothing is installed, with the oldest rows and what each count means", async () => {
  for (const [index, check] of checks.entries()) await run(insertRows(check, index + 1));
  const { exitCode, output, text } = await look(url);
  expect(exitCode, text).toBe(0);
  expect(text).toMatch(/^Reads ledger_\w+ on 127\.0\.0\.1 as first_look\.\nRead-only transactions/);
  for (const [index, { id }] of checks.entries()) {
    expect(text).toMatch(new RegExp(`^[!✓] ${id} ${index + 1}, the oldest \\d+ (min|h|days) old \\w.*`, "m"));
  }
  const wrapped = output.split("\n").filter((line) => !line.startsWith("  → ")); // What is pasted must not break.
  expect(Math.max(...wrapped.map((line) => line.length))).toBeLessThanOrEqual(80);
});

it("says how many rows are overdue on the first day, which the installation accepts, and no newer row", async () => {
  for (const [index, check] of checks.entries()) {
    await run(
      insertRows(check, index + 1) + insertRows(check, 2, { age: `${check.stuckAfter ?? "0 minutes"} 5 seconds` }),
    );
  }
  const before = await look(url);
  const firing = checks.map(({ id, overdueAfter }, index) => `${index + (overdueAfter ? 1 : 3)} of ${id}`).join(", ");
  expect(before.text).toContain(`! the first day overdue: ${firing}\n`);
  expect(before.text).toContain("→ the installation accepts them for 14 days, but none without a time");
  const strict = async (...args: string[]) => (await look(url, "--strict", ...args)).exitCode;
  expect([before.exitCode, await strict(), await strict("--known", "the first day")]).toEqual([0, 3, 0]);

  await runSqlFiles(database.adminUrl, setUp);
  await run(insertRows({ id: "failed_transfers" }, 1, { age: "0 seconds" }));
  const overdue = await evidenceOf(database.samplerUrl, /^overdue/);
  expect(overdue).toEqual(
    Object.fromEntries(checks.map(({ id }) => [`overdue_rows{check=${id}}`, id === "failed_transfers" ? 1 : 0])),
  );
  await run("alter role veza_ledger_oncall password 'oncall'");
  const oncallUrl = url.replace("first_look:look@", "veza_ledger_oncall:oncall@");
  expect((await look(oncallUrl)).text).not.toContain("the first day");
});

it("names what makes a count doubtful: a status that no check knows, a column and a table that are elsewhere", async () => {
  await run(`
    insert into orders (status, hyperswitch_payment_id) values ('requires_capture', 'pay');
    alter table seller_transfers rename status to state;
    create schema "O-b" authorization first_look; alter table refunds set schema "O-b"`);
  const elsewhere = await look(url);
  expect(elsewhere.exitCode).toBe(1);
  expect(elsewhere.text).toMatch(
    /^✗ orphan_refunds unknown: relation "public.refunds" does not exist: is this the ledger's database, and LEDGER_SCHEMA right\?$/m,
  );
  expect(elsewhere.text).toMatch(/^! stuck_orders 0 /m);
  expect(elsewhere.text).toMatch(/^! status of orders neither watched nor known to be settled: 'requires_capture' 1/m);
  expect(elsewhere.text).toMatch(/^! table refunds it is in "O-b", and LEDGER_SCHEMA is public/m);
  expect(elsewhere.text).toContain("columns of seller_transfers there is no status, but state");

  await run("alter table seller_transfers rename state to status");
  const others = tables.filter((table) => table !== "refunds");
  await run(others.map((table) => `alter table ${table} set schema "O-b";`).join(""));
  const named = await look(url, "--schema", "O-b", "--settled", "requires_capture");
  expect([named.exitCode, named.text.match(/neither watched/)]).toEqual([0, null]);
  expect(named.text).toMatch(/^✓ stuck_orders 0 /m);
  await run(`insert into "O-b".orders (status, hyperswitch_payment_id, created_at)
    values ('pending', 'pay', now() + interval '1 hour')`);
  const ahead = await look(url, "--schema", "O-b", "--settled", "requires_capture");
  expect(ahead.text).toMatch(/^! stuck_orders 0 /m);
});

it("finds nothing to doubt in the rights of people on call, and fails for rows that cannot count", async () => {
  const installed = await databaseForTest();
  await installed.admin`alter role veza_ledger_oncall password 'oncall'`;
  const oncallUrl = urlAs("veza_ledger_oncall:oncall", installed.adminUrl);
  const { exitCode, text } = await look(oncallUrl);
  expect([exitCode, text.match(/rights.*/g)]).toEqual([0, null]);
  await installed.admin.unsafe(`alter table orders alter created_at drop not null;
    insert into orders (status, hyperswitch_payment_id, created_at) values ('pending', 'pay', null)`);
  const ill = await look(oncallUrl, "--strict", "--known", "check stuck_orders");
  expect([ill.exitCode, ill.text]).toEqual([1, expect.stringMatching(/^✗ check stuck_orders /m)]);
});

it("says of an oldest row whose time is still to come that it is in the future", () => {
  const count = (oldestSeconds: number) => countOf({ check: checks[0] as Check, count: 2, overdue: 2, oldestSeconds });
  expect(count(Date.now() / 1000 + 3_600)).toBe("2, the oldest with a time in the future");
  expect(count(Date.now() / 1000 - 3_600)).toBe("2, the oldest 60 min old");
});

it("ends, and says so, when the link dies for a minute: reset or silent, at the log-in, a count or a look", async () => {
  const [logIn, count, look] = ["SCRAM-SHA-256", `row_security_active('"public".refunds')`, "explain select count"];
  const silence = (proxy: TcpProxy) => void proxy.mute(60_000);
  await Promise.all(
    (
      [
        [logIn, "silence", silence],
        [count, "RST", (proxy) => proxy.cut(true)],
        [look, "silence", silence],
      ] as [string, string, (proxy: TcpProxy) => void][]
    ).map(async ([moment, way, die]) => {
      const proxy: TcpProxy = await startProxy(targetOf(database.adminUrl).port, {
        allow: (chunk) => {
          if (chunk.includes(moment)) die(proxy);
          return true;
        },
      });
      const via = url.replace(/:\d+\//, `:${proxy.port}/`);
      const { exitCode, output } = await runScript("commands/doctor.ts", [via], withoutSettings).exited;
      expect(exitCode, `${way} ${moment}`).toBe(1);
      expect(output, `${way} ${moment}`).toMatch(/no answer within|connection|CONNECT|hung up|ECONNRESET|closed|ended/);
    }),
  );
});

it("says what to do about a URL that cannot be read, and about a wrong password, which it never shows", async () => {
  for (const wrong of ["postgres://me:s3cr#et@127.0.0.1/x", "postgres://me:s3c/ret@127.0.0.1/x"]) {
    const { exitCode, text } = await look(wrong);
    expect([exitCode, text.replaceAll(/\s+/g, " ")]).toEqual([
      1,
      "✗ Postgres DATABASE_URL must be like postgres://user:password@host:5432/database, with a single host " +
        "→ leave the password out of the URL, and set PGPASSWORD ",
    ]);
  }
  const { exitCode, text } = await look(url.replace("look@", "s3cret@"));
  expect([exitCode, text.replaceAll(/\s+/g, " ")]).toEqual([
    1,
    expect.stringMatching(/✗ Postgres password authentication .* → the password is wrong, /),
  ]);
  expect(text).not.toMatch(/s3c|alter role/);
  expect((await look("postgres://me:x@127.0.0.1:1/x")).text).toMatch(/check host and port in the URL/);
});

it("prints the grants that are missing in the schema that is named, to a login that has to be quoted", async () => {
  await run(`create role "Read-Only" login password 's3c/ret#'; create schema veza`);
  onTestFinished(async () => void (await run('drop owned by "Read-Only"; drop role "Read-Only"')));
  for (const table of tables) await run(`create view veza.${table} as table public.${table}`);
  const stranger = urlAs("Read-Only", database.adminUrl);
  const lookAsStranger = () => lookWith({ PGPASSWORD: "s3c/ret#" }, stranger, "--schema", "veza");
  const { exitCode, output } = await lookAsStranger();
  expect(exitCode).toBe(1);
  expect(output).toMatch(/^✗ stuck_orders +unknown: permission denied for schema veza$/m);
  const [, grant = ""] = /^ {2}→ as a superuser: (grant .*)/m.exec(output) ?? [];
  await run(grant);
  const granted = await lookAsStranger();
  expect([granted.exitCode, granted.text.match(/there is another one/)]).toEqual([0, null]);
});

it("ends quietly when its pipe is closed", async () => {
  const { stderr, stdout } = await promisify(exec)(`node commands/doctor.ts ${url} | head -1`);
  expect([stdout, stderr]).toEqual([expect.stringMatching(/^Reads .*\n$/), ""]);
});

it("writes nothing, also where the login could: its session is read-only", async () => {
  await run(`set local role first_look;
    create table witness (written boolean);
    create function note() returns boolean language plpgsql as
      $$ begin insert into public.witness values (true); return true; end $$;
    alter table refunds rename to real_refunds;
    create view refunds as select *, note() as noted from real_refunds where note()`);
  await run("insert into real_refunds (status, created_at) values ('pending', '2020-01-01')");
  const { exitCode, text } = await look(url);
  expect(exitCode).toBe(1);
  expect(text).toContain("unknown: cannot execute INSERT in a read-only transaction");
  expect(await database.admin`select from witness`).toHaveLength(0);
});
