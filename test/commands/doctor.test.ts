import postgres from "postgres";
import { beforeAll, beforeEach, expect, inject, it, onTestFinished } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks } from "../../lib/checks.ts";
import { startReplica } from "../chaos/servers.ts";
import { createDatabase, type TestDatabase, targetOf } from "../helpers/database.ts";
import { doctor, elsewhere, fill } from "../helpers/doctor.ts";
import { scrape } from "../helpers/gateway.ts";
import { insertRows, needs, onTable, readsProviderId } from "../helpers/models.ts";
import { runProgram } from "../helpers/processes.ts";
import { startProxy, type TcpProxy } from "../helpers/proxy.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";
import { closedPort, httpServer } from "../helpers/servers.ts";
import { startLedgerServer } from "../helpers/template.ts";

/** A server of this file's own: remedies change roles, which belong to all databases of a server. */
let serverUrl: string;
let database: TestDatabase;
beforeAll(async () => {
  const server = await startLedgerServer();
  serverUrl = server.superuserUrl;
  return () => server.stop();
});
beforeEach(async () => {
  database = await createDatabase(serverUrl);
  onTestFinished(() => database.remove());
});

const run = async (statements: string): Promise<void> => void (await database.admin.unsafe(statements));

it("finds what is missing for the sampler, and after the remedies nothing", async () => {
  // A small table that the planner knows to be small: it would read all of it, index or not.
  await run("insert into refunds (status) select 'pending' from generate_series(1, 20); analyze refunds");
  await run("insert into orders (status) values ('pending')");
  const settings = { DATABASE_URL: database.samplerUrl, WEBHOOK_SECRET: undefined, STAGE: "doctor-alone" };
  await run("revoke select (updated_at) on seller_transfers from veza_ledger_sampler");
  await run("alter table orders rename hyperswitch_payment_id to gone");
  const ill = await doctor(["sampler"], settings);
  const missing = 'column "hyperswitch_payment_id" does not exist';
  const denied = "permission denied for table seller_transfers";
  const problems: Record<string, string> = {
    ...onTable("orders", missing, readsProviderId),
    failed_transfers: `counts, and does not know the oldest row: ${denied}`,
    ...onTable("seller_transfers", denied, needs("updated_at")),
  };
  const lineOf = ({ id }: { id: string }) => {
    if (!problems[id]) return `✓ check ${id} can be asked`;
    return `${id === "failed_transfers" ? "!" : "✗"} check ${id} ${problems[id]}`;
  };
  const unserved = checks.map(({ id }) => id).filter((id) => problems[id] !== missing && problems[id] !== denied);
  const timesOf = (table: string) =>
    [...new Set(checks.filter((check) => check.table === table).map(({ time }) => time))].map(
      (time) => `✓ time of ${table} ${time} is a timestamp with time zone`,
    );
  expect(ill).toMatchObject({
    exitCode: 1,
    lines: [
      "✓ settings valid",
      expect.stringMatching(/^✓ Postgres [\d.]+ on 127\.0\.0\.1, as veza_ledger_sampler$/),
      "✓ TLS not needed on this machine",
      "✓ login veza_ledger_sampler",
      expect.stringMatching(/^✓ role's settings statement \d+ ms, lock 500 ms$/),
      "✓ ways to read all roles read the ledger as veza_ledger_sampler does",
      "✗ rights veza_ledger_sampler lacks rights",
      "✓ server the primary",
      expect.stringMatching(/^✓ table orders a table in public, rows: about [\d,]+$/),
      "✓ status of orders pending 1",
      ...timesOf("orders"),
      "✓ table refunds a table in public, rows: about 20",
      "✓ status of refunds pending 20",
      ...timesOf("refunds"),
      "! table seller_transfers a table in public, and empty",
      "✓ status of seller_transfers no row, so no status",
      ...timesOf("seller_transfers"),
      ...checks.map(lineOf),
      `! indexes none serves ${unserved.join(", ")}: the whole table is read every minute`, // The tables are small.
      expect.stringMatching(/^✓ counts orphan_refunds.*|unknown: \d$/),
      "✓ accepted rows none",
      "✓ totals ledger_metrics is there, and readable",
      expect.stringMatching(/^✓ totals on the gateway not compared: the gateway shows none /),
      "✓ standby none is connected",
      "✓ Pushgateway accepts a push and shows it",
      "✓ Pushgateway's memory in memory alone, as it should be",
    ],
    remedies: [
      "as postgres: grant select (updated_at) on public.seller_transfers to veza_ledger_sampler",
      "if the ledger is elsewhere: name its database, or set the role's search_path",
      ...checks.flatMap(({ id }) => {
        if (problems[id] === missing) {
          return "the column is missing: migrate the ledger, or let the role read a view instead: docs/what-counts.md";
        }
        return problems[id] ? "the role may not read it: npm run migrate" : [];
      }),
      expect.stringMatching(
        /^psql "postgres:\/\/postgres@127.0.0.1:\d+\/ledger_\w+" -f config\/postgres\/indexes.sql$/,
      ),
    ],
  });

  await run("alter table orders rename gone to hyperswitch_payment_id");
  await runSqlFiles(database.adminUrl, ["config/postgres/roles.sql"]);
  await fill(database);
  expect(await doctor(["sampler"], settings)).toMatchObject({ exitCode: 0, ill: [], remedies: [] });
  expect(await scrape("doctor-alone")).toEqual({});
});

/**
 * A fake of PgBouncer 1.24 in statement mode: it hangs up when an answer leaves a transaction open. It has no pools.
 */
it("knows a pooler in statement mode, and says what to set there", async () => {
  const proxy = await startProxy(targetOf(database.samplerUrl).port, {
    answer: (chunk) => {
      const isOpen = chunk.includes(Buffer.from([0x5a, 0, 0, 0, 5, 0x54])); // ReadyForQuery, in a transaction.
      if (isOpen) proxy.cut(false);
      return chunk;
    },
  });
  for (const role of ["sampler", "receiver"]) {
    const url = role === "sampler" ? database.samplerUrl : database.receiverUrl;
    const found = await doctor([role], { DATABASE_URL: url.replace(/:\d+\//, `:${proxy.port}/`) });
    expect(found.ill).toEqual([expect.stringMatching(/^✗ Postgres /)]);
    expect(found.remedies).toEqual([
      expect.stringMatching(/set pool_mode = transaction for this database in PgBouncer$/),
    ]);
  }
});

it("finds what is missing for the receiver, and changes nothing", async () => {
  const settings = { DATABASE_URL: database.receiverUrl };
  expect(await doctor(["receiver"], settings)).toMatchObject({ exitCode: 0, remedies: [] });
  await database.admin`revoke update (value) on ledger_metrics.totals from veza_ledger_receiver`;
  const ill = await doctor(["receiver"], settings);
  expect(ill.exitCode).toBe(1);
  expect(ill.lines).toContain("✗ totals the role may not write to ledger_metrics");
  await database.admin`grant update (value) on ledger_metrics.totals to veza_ledger_receiver`;
  const { database: name } = targetOf(database.adminUrl);
  await database.admin.unsafe(`alter role veza_ledger_receiver in database ${name} set synchronous_commit = off`);
  expect((await doctor(["receiver"], settings)).lines).toContain(
    "✗ totals a crash of Postgres would lose what was answered (synchronous_commit is off)",
  );
  await database.admin.unsafe(`alter role veza_ledger_receiver in database ${name} reset synchronous_commit`);
  await database.admin`alter schema ledger_metrics rename to elsewhere`;
  const without = await doctor(["receiver"], settings);
  expect(without.lines).toContain('✗ totals schema "ledger_metrics" does not exist');
  expect(without.remedies).toEqual(["npm run migrate"]);
  expect(await database.admin`select * from elsewhere.deliveries`).toEqual([]);
});

it("tells a replica from the primary, on which alone is counted and published", async () => {
  const { exitCode, ill, remedies } = await doctor(["sampler"], { DATABASE_URL: await startReplica() });
  expect(exitCode).toBe(1);
  const problems = ill.filter((line) => line.startsWith("✗"));
  expect(problems).toEqual(["✗ server a replica: name the primary", "✗ totals not published from a replica"]);
  expect(remedies).toContain("name the primary in DATABASE_URL");
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

it.each([
  [403, "✓ totals on the gateway not compared: the Pushgateway answered 403: no /metrics"],
  [503, "✗ totals on the gateway the Pushgateway answered 503: no /metrics"],
])("says why it compares no totals with a gateway whose page is answered with %i", async (status, line) => {
  const url = await httpServer((request, response) => {
    request.resume().on("end", () => response.writeHead(request.method === "GET" ? status : 200).end());
  });
  const { lines } = await doctor(["receiver"], { DATABASE_URL: database.receiverUrl, PUSHGATEWAY_URL: url });
  expect(lines).toContain(line);
});

it("doubts a gateway elsewhere that is sent credentials in cleartext", async () => {
  const here = inject("pushgatewayUrl");
  const elsewhere = here.replace("127.0.0.1", "0.0.0.0"); // Settings take it for another machine.
  const look = (url: string) => doctor(["receiver"], { DATABASE_URL: database.receiverUrl, PUSHGATEWAY_URL: url });
  const sent = await look(elsewhere.replace("//", "//user:hunter2@"));
  const doubt = "! Pushgateway accepts a push and shows it; its credentials go there in cleartext";
  expect(sent.lines.slice(-2)).toEqual([doubt, expect.stringContaining("✓ Pushgateway's memory")]);
  expect(sent.remedies).toContain("write https:// in PUSHGATEWAY_URL, and have TLS before the gateway");
  expect(sent.lines.join()).not.toContain("hunter2");
  for (const url of [elsewhere, here.replace("//", "//user:hunter2@")]) {
    expect((await look(url)).lines).toContain("✓ Pushgateway accepts a push and shows it");
  }
});

it("names the settings that are wrong, and the secret that cannot be read", async () => {
  expect((await doctor([], { PUSHGATEWAY_URL: undefined })).lines).toEqual([
    "✗ settings DATABASE_URL is missing; PUSHGATEWAY_URL is missing",
  ]);
  await fakeSecretsManager({ there: { DATABASE_URL: database.samplerUrl } });
  const good = await doctor(["sampler"], { SECRET_ID: "there" });
  expect(good.lines.slice(0, 2)).toEqual(["✓ secret there is readable", "✓ settings valid"]);
  const unread = await doctor([], { SECRET_ID: "not-there" });
  expect(unread.lines).toEqual([
    "✗ secret SECRET_ID: not-there could not be read: ResourceNotFoundException: " +
      "no secret of this name in this account and region",
  ]);
  expect(unread.remedies).toEqual([
    expect.stringMatching(/use the last good secret meanwhile, and log "secrets not read again"$/),
  ]);
});

it.each<[string, (proxy: TcpProxy) => void, string]>([
  ["goes mute, for 20 s", (proxy) => void proxy.mute(60_000), "Postgres has not answered within 20 s"],
  ["hangs up", (proxy) => proxy.cut(false), "the connection to Postgres was lost"],
  ["resets the connection", (proxy) => proxy.cut(true), "the connection to Postgres was lost"],
])("waits for a Postgres that %s, and goes on to the gateway", async (_, fail, problem) => {
  const proxy: TcpProxy = await startProxy(targetOf(database.samplerUrl).port, {
    allow: (chunk) => {
      if (chunk.includes("pg_settings")) fail(proxy);
      return true;
    },
  });
  const startedAt = performance.now();
  const url = database.samplerUrl.replace(/:\d+\//, `:${proxy.port}/`);
  const { exitCode, lines } = await doctor(["sampler"], { DATABASE_URL: url }, elsewhere);
  expect(performance.now() - startedAt).toBeLessThan(30_000);
  expect(exitCode).toBe(1);
  expect(lines.slice(1)).toEqual([
    expect.stringMatching(/^✓ Postgres/),
    expect.stringMatching(/^✓ TLS/),
    expect.stringMatching(/^✓ login/),
    `✗ role's settings ${problem}`,
    expect.stringMatching(/^✓ Pushgateway/),
    expect.stringMatching(/^✓ Pushgateway's memory/),
  ]);
});

it("prints the sampler's statements to paste, without any settings, and they count what it counts", async () => {
  for (const [index, check] of checks.entries()) await run(insertRows(check, index + 1));
  const program = runProgram("npm", ["run", "--silent", "doctor", "--", "sampler", "--sql"], {
    DATABASE_URL: undefined,
    PUSHGATEWAY_URL: undefined,
  });
  await program.exited;
  expect(program.child.exitCode).toBe(0);
  const sampler = postgres(database.samplerUrl, { max: 1 });
  const answers = (await sampler.unsafe(program.output())) as unknown as { count: string }[][];
  await sampler.end();
  const counts = checks.map((_, index) => [expect.objectContaining({ count: `${index + 1}`, hides_rows: false })]);
  expect(answers).toEqual([...counts, ...counts]);
  for (const { id } of checks) expect(program.output()).toContain(`-- ${id}\n`);
});
