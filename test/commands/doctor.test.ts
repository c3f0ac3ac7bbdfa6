// What the doctor prints, what it says of gateways, clocks and questions without an answer, and how it ends without
// Postgres.
import http from "node:http";
import postgres from "postgres";
import { describe, expect, inject, it, onTestFinished, vi } from "vitest";
import { askAsTick } from "../../bench/ledger.ts";
import { tables } from "../../commands/declared-rights.ts";
import { lookAtCheck } from "../../commands/doctor/check.ts";
import { lookAtCounts } from "../../commands/doctor/counts.ts";
import { lookAtIndexOf } from "../../commands/doctor/index-of.ts";
import { lookAtServer } from "../../commands/doctor/server.ts";
import { lookAtStatus } from "../../commands/doctor/status.ts";
import { lookAtUnwatched } from "../../commands/doctor/unwatched.ts";
import { run as command } from "../../commands/doctor.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { type Check, checks } from "../../lib/counts/checks.ts";
import { startPushgateway } from "../../local/programs.ts";
import { inProcess } from "../helpers/commands.ts";
import { databasePerTest, lockTable, openConnection, targetOf, urlAs } from "../helpers/database.ts";
import { doctor, doctorSettings, rowsOfEveryKind, sceneOf } from "../helpers/doctor.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { scrape } from "../helpers/gateway.ts";
import { insertRows, modelOf, onTable } from "../helpers/models.ts";
import { blocksOf } from "../helpers/pages.ts";
import { startProxy, type TcpProxy } from "../helpers/proxy.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";
import { closedPort, httpServer } from "../helpers/servers.ts";
import { makeViews, viewSchema } from "../helpers/views.ts";

const { database, run } = databasePerTest();

it("prints one line for each look, and takes back what it has written", async () => {
  await run(rowsOfEveryKind);
  await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
  const settings = { WEBHOOK_SECRET: undefined, STAGE: "doctor-alone" };
  const { exitCode, lines, remedies } = await doctor(["sampler"], { DATABASE_URL: database.samplerUrl, ...settings });
  expect([exitCode, remedies]).toEqual([0, []]);
  const { stuckAfterMinutes } = modelOf({ id: "stuck_orders" });
  const ofStatus = (table: string, status: string) =>
    checks.filter((check) => check.table === table && check.status === status);
  const ofTable = ({ table, status, time }: Check) => [
    `✓ table ${table} a table in public`,
    `✓ columns of ${table} all that are read`,
    expect.stringMatching(`^✓ status of ${table} .*${status} ${2 * ofStatus(table, status).length}`),
    `✓ unwatched ${table} 0`,
    `✓ time of ${table} ${time} is a timestamp with time zone`,
  ];
  expect(lines).toEqual([
    "✓ settings valid",
    expect.stringMatching(/^✓ Postgres \d.* on 127\.0\.0\.1, as veza_ledger_sampler$/),
    "✓ TLS not needed on this machine",
    "✓ login veza_ledger_sampler",
    "✓ rights all that it needs",
    "✓ server the primary",
    "✓ outbox none here that this login may read",
    ...checks.filter((check) => checks.find(({ table }) => table === check.table) === check).flatMap(ofTable),
    ...checks.flatMap(({ id }) => [`✓ check ${id} can be asked`, `✓ index of ${id} there, or the table is small`]),
    "✓ people on call look where the sampler does",
    expect.stringContaining(`✓ counts stuck_orders 1, the oldest ${(stuckAfterMinutes ?? 0) + 60} min old; `),
    "✓ accepted rows none",
    "✓ totals ledger_metrics is there, and readable",
    "✓ Pushgateway accepts a push and shows it",
  ]);
  expect(await scrape("doctor-alone")).toEqual({});

  const receiver = await doctor(["receiver"], { DATABASE_URL: database.receiverUrl });
  expect(receiver).toMatchObject({ exitCode: 0, remedies: [] });
  expect(receiver.lines).toContain("✓ totals ledger_metrics is there, and writable");
  expect(await database.admin`select from ledger_metrics.deliveries`).toHaveLength(0);
});

it("says in its last line and, by --strict, in its exit code whether one can go on, also to people on call", async () => {
  await run(`${rowsOfEveryKind} insert into orders (status) values ('requires_capture')`);
  await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
  await run("alter role veza_ledger_oncall password 'oncall'");
  const onCall = urlAs("veza_ledger_oncall:oncall", database.adminUrl);
  const look = (args: string[], DATABASE_URL = database.samplerUrl) => doctor(args, { DATABASE_URL });
  const codeOf = async (...args: string[]) => (await look(["sampler", "--strict", ...args])).exitCode;
  const doubtful = "Nothing is wrong. Doubtful: status of orders.";
  expect(await look(["sampler"])).toMatchObject({ exitCode: 0, summary: doubtful });
  expect(await codeOf()).toBe(3);
  expect(await codeOf("--known", "time of orders")).toBe(3);
  expect(await codeOf("--known", "time of orders,status of orders")).toBe(0);
  const settled = ["sampler", "--strict", "--settled", "requires_capture"];
  expect(await look(settled)).toMatchObject({ exitCode: 0, summary: "Nothing is wrong." });
  // In the sampler's place, they may read the totals, and not lock them.
  const theirs = await look(["sampler"], onCall);
  expect([theirs.exitCode, theirs.lines]).toEqual([
    0,
    expect.arrayContaining(["✓ totals ledger_metrics is there, and readable"]),
  ]);
  expect((await look([onCall, "--strict"])).exitCode).toBe(3);
  await run("alter table refunds rename to gone"); // What is wrong is more than a doubt.
  const summary = "Wrong: table refunds, counts. Apply what the lines with → say, and look again.";
  expect(await look(["sampler", "--strict"])).toMatchObject({ exitCode: 1, summary });
});

it("doubts many orders that no check watches, until the page's views name a second provider's ids", async () => {
  const provider = (n: number, table: string, age: string) =>
    `insert into ${table} (status, adyen_psp_reference, created_at)
      select 'pending', 'A' || n, now() - interval '${age}' from generate_series(1, ${n}) as n;`;
  await run(`${rowsOfEveryKind} alter table orders add adyen_psp_reference text;
    alter table refunds add adyen_psp_reference text;
    ${provider(9, "orders", "2 days")} ${provider(20, "orders", "10 minutes")}
    ${provider(3, "refunds", "2 days")} ${provider(5, "refunds", "12 minutes")}`);
  await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
  const ill = async (schema = "public") =>
    (await doctor(["sampler"], { DATABASE_URL: database.samplerUrl, LEDGER_SCHEMA: schema })).ill;
  const counts = async (schema: string) => countsIn(await sampleAs(database.samplerUrl, { schema }), (error) => error);
  const statuses = new Set(checks.filter(({ table }) => table === "orders").map(({ status }) => status));
  expect(await ill()).toEqual([]);
  await run(provider(31, "orders", "2 days"));
  expect(await ill()).toEqual([
    `! unwatched orders 40 are ${[...statuses].join(" or ")} for over an hour, and no check watches them`,
  ]);
  expect(await counts("public")).toMatchObject({ stuck_orders: 1, stuck_refunds: 1, orphan_refunds: 9 });

  const [eitherId = ""] = await blocksOf("docs/what-counts.md", "text", "A view instead of the table");
  const payment = "hyperswitch_payment_id";
  const refund = "hyperswitch_refund_id";
  await makeViews(database, { [payment]: eitherId, [refund]: eitherId.replaceAll(payment, refund) });
  await runSqlFiles(database.adminUrl, setUp, viewSchema);
  expect(await ill(viewSchema)).toEqual([]);
  expect(await counts(viewSchema)).toMatchObject({ stuck_orders: 41, stuck_refunds: 4, orphan_refunds: 1 });
});

it("doubts soft-deleted rows that count where it may read deleted_at, says unknown elsewhere; a view leaves them out", async () => {
  await run(`${rowsOfEveryKind} alter table orders add deleted_at timestamptz;
    create role reader login password 'reader'; grant select on ${tables.join(", ")} to reader`);
  onTestFinished(() => run("drop owned by reader; drop role reader"));
  const reader = urlAs("reader:reader", database.adminUrl);
  const lines = async (url: string, ...args: string[]) =>
    (await doctor(args, { DATABASE_URL: url })).lines.filter((line) => line.includes("soft-deleted stuck_orders"));
  expect(await lines(reader, reader)).toEqual([]); // A first look prints doubts alone.
  await run("update orders set deleted_at = now()");
  expect(await lines(reader, reader)).toEqual([
    "! soft-deleted stuck_orders 1 of the rows that count have a deleted_at",
  ]);
  const unknown = "✓ soft-deleted stuck_orders unknown: veza_ledger_sampler may not read deleted_at";
  expect(await lines(database.samplerUrl, "sampler")).toEqual([expect.stringContaining(unknown)]);
  expect((await doctor(["sampler"], { DATABASE_URL: database.samplerUrl })).exitCode).toBe(0);

  await makeViews(database, { "from public.orders": "from public.orders where deleted_at is null" });
  await runSqlFiles(database.adminUrl, setUp, viewSchema);
  expect(countsIn(await sampleAs(database.samplerUrl, { schema: viewSchema }), (error) => error)).toMatchObject(
    onTable("orders", 0),
  );
});

it("prints all statements of a tick to paste, without any settings, and they count what it counts", async () => {
  for (const [index, check] of checks.entries()) await run(insertRows(check, index + 1));
  const { exitCode, output } = await inProcess(command, ["sampler", "--sql"], withoutSettings);
  expect(exitCode).toBe(0);
  await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql"]);
  await runSqlFiles(database.adminUrl, setUp);
  // Each check has an accepted row, of which the tick asks in its second round trip.
  for (const { id } of checks) {
    await run(`insert into ledger_metrics.accepted ("check", id, until, why) values
      ('${id}', '1', now() + interval '1 day', 'known')`);
  }
  await run("update ledger_metrics.first_day set until = now() + interval '1 day'");
  const sampler = postgres(database.samplerUrl, { max: 1 });
  const answers = (await sampler.unsafe(output)) as unknown as { count: string }[][];
  const asked = await askAsTick(sampler);
  await sampler.end();
  for (const question of asked) expect(output).toContain(question);
  expect(answers.filter(([row]) => row && "hides_rows" in row)).toEqual(
    checks.map((_, index) => [expect.objectContaining({ count: `${index + 1}`, hides_rows: false })]),
  );
});

it("names the settings that are wrong, and the secret that cannot be read", async () => {
  expect((await doctor([], { PUSHGATEWAY_URL: undefined })).lines).toEqual([
    "✗ settings DATABASE_URL is missing; PUSHGATEWAY_URL is missing",
  ]);
  const { DATABASE_URL, ...others } = doctorSettings(database.samplerUrl);
  await fakeSecretsManager({ there: { DATABASE_URL }, all: { DATABASE_URL, ...others } });
  const nothing = Object.fromEntries(Object.keys(others).map((name) => [name, undefined]));
  expect((await doctor(["sampler"], { ...nothing, SECRET_ID: "all" })).lines[0]).toBe("✓ settings valid");
  expect((await doctor(["sampler"], { SECRET_ID: "there", PGPASSWORD: "own" })).lines[0]).toBe(
    "✓ settings valid; from the environment, and not from the secrets: PUSHGATEWAY_URL, WEBHOOK_SECRET, STAGE, PGPASSWORD",
  );
  expect(await doctor([], { SECRET_ID: "not-there" })).toMatchObject({
    lines: [expect.stringMatching(/^✗ settings SECRET_ID: not-there could not be read: ResourceNotFoundException: /)],
    remedies: [expect.stringMatching(/use the last good secret meanwhile, and log "secrets not read again"$/)],
  });
});

it("says once that its connection was lost, and goes on to the gateway", async () => {
  const proxy: TcpProxy = await startProxy(targetOf(database.samplerUrl).port, {
    allow: (chunk) => {
      if (chunk.includes("as now")) proxy.cut(true);
      return true;
    },
  });
  const DATABASE_URL = database.samplerUrl.replace(/:\d+\//, `:${proxy.port}/`);
  const { ill, lines } = await doctor(["sampler"], { DATABASE_URL });
  expect(ill).toEqual(["✗ server the connection to Postgres was lost"]);
  expect(lines.at(-1)).toMatch(/^✓ Pushgateway /);
});

it("sees a clock of Postgres with which the sampler would not count, also where floats show no digits", async () => {
  const { database: name } = targetOf(database.adminUrl);
  await run(`alter role veza_ledger_sampler in database ${name} set extra_float_digits = -15`);
  const scene = sceneOf(await openConnection(database.samplerUrl));
  expect(await lookAtServer(scene)).toMatchObject({ mark: "✓", found: "the primary" });
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const now = Date.now();
  for (const sign of [1, -1]) {
    vi.setSystemTime(now + sign * 600_000);
    expect(await lookAtServer(scene)).toMatchObject({
      mark: "!",
      found: expect.stringMatching(/^the clocks of Postgres and this machine are (59|60)\d s apart$/),
    });
  }
});

describe("of what it could not ask", () => {
  /** A scene in which Postgres takes too long to answer questions with these words. */
  const sceneWithSlow = async (words: string) => {
    const scene = sceneOf(await openConnection(database.samplerUrl));
    const ask = (question: string) =>
      scene.ask(question.includes(words) ? question.replace(/\bfrom (?=ledger)/, "from pg_sleep(5), ") : question);
    return { ...scene, ask };
  };
  const [check] = checks as [Check];

  it("says so: of the rows without a time", async () => {
    expect(await lookAtCheck(await sceneWithSlow("as no_time"), check)).toMatchObject({
      mark: "!",
      found: expect.stringMatching(/^can be asked; which rows lack a created_at is unknown: .*timeout$/),
    });
  });

  it("says so: of an index, of rows that no check watches, and of what counts", async () => {
    const scene = sceneOf(await openConnection(database.samplerUrl));
    await lockTable(database, "orders");
    await expect(lookAtIndexOf(scene, check)).rejects.toThrow("lock timeout");
    await expect(lookAtUnwatched(scene, "orders")).rejects.toThrow("lock timeout");
    await expect(lookAtStatus(scene, "orders")).rejects.toThrow("lock timeout");
    const found = Object.keys(onTable("orders", "")).map((id) => `${id} unknown`);
    expect(await lookAtCounts(scene)).toMatchObject({ mark: "✗", found: found.join("; ") });
  });

  it("reads the statuses of the newest rows, where reading all takes too long", async () => {
    await run(
      "insert into orders (status) select 'pending' from generate_series(1, 100000); insert into orders (status) values ('odd')",
    );
    expect(await lookAtStatus(await sceneWithSlow("from ledger.orders group by"), "orders")).toMatchObject({
      mark: "!",
      found: "of the 100,000 newest rows: neither watched nor known to be settled: 'odd' 1",
    });
  });
});

describe("of a gateway", () => {
  /** The line about it, and the remedy. */
  async function look(url: string): Promise<(string | undefined)[]> {
    const DATABASE_URL = `postgres://u:p@127.0.0.1:${closedPort}/x`;
    const { lines, remedies } = await doctor(["sampler"], { DATABASE_URL, PUSHGATEWAY_URL: url });
    return [lines.find((line) => line.slice(2).startsWith("Pushgateway ")), remedies[1]];
  }
  const isWell = ["✓ Pushgateway accepts a push and shows it", undefined];

  it("that speaks http and not https", async () => {
    const url = inject("pushgatewayUrl");
    expect(await look(url.replace("http:", "https:"))).toEqual([
      "✗ Pushgateway the push to the Pushgateway failed: the server does not speak TLS",
      expect.stringMatching(/^write http:\/\/ in PUSHGATEWAY_URL/),
    ]);
    expect(await look(url)).toEqual(isWell);
  });

  it("that never answers", async () => {
    expect(await look(await httpServer(() => {}))).toEqual([
      "✗ Pushgateway the Pushgateway: no answer within 3000 ms",
      "check PUSHGATEWAY_URL, its credentials, and the network's way there",
    ]);
  });

  it.each([
    [401, "no", "check the user in PUSHGATEWAY_URL, or PUSHGATEWAY_TOKEN"],
    [404, "no", "check the path in PUSHGATEWAY_URL"],
    [400, "Client sent an HTTP request to an HTTPS server.", "write https:// in PUSHGATEWAY_URL"],
  ])("that answers %i %s", async (status, text, remedy) => {
    const url = await httpServer((_, response) => response.writeHead(status).end(text));
    expect(await look(url)).toEqual([`✗ Pushgateway the Pushgateway answered ${status}: ${text}`, remedy]);
  });

  it("elsewhere that is sent credentials in cleartext", async () => {
    const here = inject("pushgatewayUrl");
    const elsewhere = here.replace("127.0.0.1", "0.0.0.0"); // Settings take it for another machine.
    const withUser = (url: string) => url.replace("//", "//user:hunter2@");
    expect(await look(withUser(elsewhere))).toEqual([
      "! Pushgateway accepts a push and shows it; its credentials go there in cleartext",
      "write https:// in PUSHGATEWAY_URL, and have TLS before the gateway",
    ]);
    for (const url of [elsewhere, withUser(here)]) expect(await look(url)).toEqual(isWell);
  });

  it("that is two gateways behind one address", async () => {
    const gateways = await Promise.all([startPushgateway(0), startPushgateway(0)]);
    onTestFinished(async () => void (await Promise.all(gateways.map((gateway) => gateway.stop()))));
    const both = gateways.map((gateway) => gateway.url);
    let turn = 0;
    // A balancer that takes turns.
    const url = await httpServer((request, response) => {
      turn += 1;
      const to = new URL(request.url ?? "", both[turn % 2]);
      request.pipe(
        http.request(to, { method: request.method ?? "", headers: request.headers }, (answer) => {
          response.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(response);
        }),
      );
    });
    expect(await look(url)).toEqual([
      "✗ Pushgateway 4 of 8 reads did not show what was pushed: several gateways answer at this URL",
      "name one of them in PUSHGATEWAY_URL: each has numbers of its own",
    ]);
    for (const gateway of both) {
      expect(await look(gateway)).toEqual(isWell);
      const page = async () => (await fetch(`${gateway}/metrics`)).text();
      await expect.poll(page).not.toContain("veza_ledger_doctor"); // A Pushgateway deletes after its answer.
    }
  });
});
