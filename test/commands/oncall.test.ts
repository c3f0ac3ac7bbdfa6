// What the commands of people on call decide and print, without a server.
import { describe, expect, it } from "vitest";
import { minutesOf, summaryOf } from "../../commands/oncall/ledger.ts";
import { linesIn, reasonsOf } from "../../commands/oncall/log.ts";
import { type Facts, isReplaced, silencingOf, verdictOf } from "../../commands/oncall/monitoring.ts";
import { passwordIn, targetOf } from "../../commands/oncall/stage.ts";
import { tableOf } from "../../commands/oncall/table.ts";
import { Refusal, wordsOf } from "../../commands/oncall/terminal.ts";
import { stageOf } from "../../commands/oncall/write.ts";
import { commands, complete, helpOf } from "../../commands/oncall.ts";
import { checks } from "../../lib/counts/checks.ts";

const url = "postgres://veza_ledger_oncall:hunter2@[::1]:5433/led%20ger";

describe("a table", () => {
  const columns = [{ name: "id" }, { name: "rows", type: 20 }, { name: "why" }];
  const why = "an import of the old shop, which finance knows about, says Ada";
  it.each<[width: number, lines: string[]]>([
    [Infinity, ["id    rows  why", `----  ----  ${"-".repeat(62)}`, `id_1    12  ${why}`]],
    [
      50,
      [
        "id    rows  why",
        `----  ----  ${"-".repeat(38)}`,
        "id_1    12  an import of the old shop, which",
        "            finance knows about, says Ada",
      ],
    ],
    [30, ["--- 1 of 1", "id    id_1", "rows  12", `why   ${why}`]],
  ])("fits into %s columns", (width, lines) => {
    expect(tableOf(columns, [["id_1", "12", why]], width)).toEqual(lines);
  });

  it("shows what would move the cursor, and times without fractions", () => {
    const rows = [["a\u001b[2Jb", null, "2026-01-31 12:00:00.123+00"]];
    const [, , line] = tableOf([{ name: "a" }, { name: "b" }, { name: "c", type: 1184 }], rows);
    expect(line).toBe("a\\u{1b}[2Jb     2026-01-31 12:00:00+00");
  });
});

it("splits a line into words, as a shell does with quotes", () => {
  expect(wordsOf(`takeback  id_1 'action stuck_orders' "it's" a'b c'd ''`)).toEqual([
    "takeback",
    "id_1",
    "action stuck_orders",
    "it's",
    "ab cd",
    "",
  ]);
  expect(() => wordsOf("rows 'x")).toThrow(Refusal);
});

it("completes commands, checks, and words", () => {
  expect(complete("row")[0]).toEqual(["rows "]);
  expect(complete("rows stuck_o")[0]).toEqual(["stuck_orders "]);
  expect(complete("logs ")[0]).toEqual(["sampler ", "receiver "]);
  expect(complete("accept stuck_orders ")[0]).toEqual([]);
  expect(complete("help why_l")[0]).toEqual(["why_lost "]);
});

it("explains each command at 80 columns, and no other", () => {
  const all = helpOf();
  for (const { calls } of commands) expect(all).toContain(calls.join(", "));
  expect(all.filter((line) => line.length > 80)).toEqual([]);
  expect(() => helpOf("nothing")).toThrow("There is no command nothing");
});

it("reads the checks' intervals", () => {
  for (const { stuckAfter } of checks) expect(minutesOf(stuckAfter)).toBeGreaterThanOrEqual(0);
  expect([minutesOf("2 hours"), minutesOf("1 day"), minutesOf()]).toEqual([120, 1440, 0]);
  expect(() => minutesOf("a while")).toThrow();
});

describe("rows", () => {
  const counts = { firing: 3, accepted: 1, young: 2, oldest: "2026-01-31 12:00", newest: 40, now: "now" };
  it.each([
    [counts, "IT GOES ON: the newest is 40 minutes old, and none counts before 30."],
    [{ ...counts, newest: 41 }, "No new one for a while: the newest is 41 minutes old, and none counts before 30."],
    [{ ...counts, newest: null, oldest: null }, "at a time that is unknown. No new one for a while: no time is known"],
    [{ ...counts, firing: 0 }, "So they were repaired or accepted"],
  ])("says how many, and whether it goes on: %o", (given, says) => {
    const [first, second] = summaryOf("stuck_orders", 30, given);
    expect(first).toBe(`${given.firing} of stuck_orders fire now, now. Besides: 1 accepted, 2 too young to fire.`);
    expect(second).toContain(says);
  });
});

describe("why_silent", () => {
  const [tick, failed] = linesIn('12:00 {"message":"tick","stuck_orders":1}\n12:00 {"message":"tick failed"}\n');
  const [unknown] = linesIn('12:00 {"message":"tick","stuck_orders":-1}');
  const well: Facts = {
    onGateway: 10,
    inPrometheus: 20,
    prometheus: true,
    alertmanager: true,
    gateway: true,
    log: tick ? [tick] : [],
    service: true,
    isOnAws: false,
    strangers: [],
  };
  it.each<[says: string | RegExp, change: Partial<Facts>]>([
    ["TICKS ARRIVE", {}],
    ["TICKS ARRIVE", { alertmanager: undefined }],
    [/TICKS ARRIVE.*BUT A COUNT IS -1/, { log: unknown ? [unknown] : [] }],
    // Whoever has no password of the gateway hears nothing false of it.
    ["TICKS ARRIVE", { gateway: undefined, onGateway: undefined }],
    [/^PROMETHEUS DOES NOT ANSWER.* TICKS|^PROMETHEUS DOES NOT ANSWER/, { prometheus: false, inPrometheus: undefined }],
    [/^ALERTMANAGER DOES NOT ANSWER.*TICKS ARRIVE/, { alertmanager: false }],
    ["THE GATEWAY DOES NOT ANSWER", { gateway: false, onGateway: undefined }],
    ["THE SERVICE DOES NOT RUN", { service: false, log: [] }],
    ["THE SAMPLER DOES NOTHING", { log: [] }],
    ["The log is unknown: log in there", { log: new Refusal("log in there"), service: undefined }],
    ["PROMETHEUS IS BEHIND THE GATEWAY", { inPrometheus: 999 }],
    ["TICKS ARE IN THE LOG, AND DO NOT ARRIVE", { onGateway: 999, inPrometheus: 999 }],
    [
      /THE TICKS FAIL.* ANOTHER JOB PUSHES OUR METRICS: job="x"/,
      { onGateway: 999, log: failed ? [failed] : [], strangers: ["x"] },
    ],
  ])("says %s for %o", (says, change) => {
    expect(verdictOf({ ...well, ...change }).join(" ")).toMatch(says);
  });
});

describe("silence", () => {
  it("reads spans as people write them", () => {
    expect(silencingOf("prod", ["08h", "VezaLedgerStuckRefunds"]).seconds).toBe(8 * 3_600);
    expect(silencingOf("prod", ["010m", "alertname=VezaLedgerStuckRefunds"]).seconds).toBe(600);
  });
  it.each([["8h"], ["VezaLedgerAlive"], ["8", "VezaLedgerAlive"], ["8h", "VezaLedger"], ["8hm", "VezaLedgerAlive"]])(
    "refuses %s %s",
    (...words) => {
      expect(() => silencingOf("prod", words)).toThrow("Nothing is silenced. Say for how long");
    },
  );
  it("replaces those of the same alerts, and with 0h those of a part of them", () => {
    const of = (...words: string[]) => silencingOf("prod", words);
    const part = of("1h", "VezaLedgerCheckFailing", "check=stuck_orders").matchers;
    expect(isReplaced(part, of("2h", "VezaLedgerCheckFailing", "check=stuck_orders"))).toBe(true);
    expect(isReplaced(part, of("2h", "VezaLedgerCheckFailing", "check=stuck_refunds"))).toBe(false);
    expect(isReplaced(part, of("0h", "VezaLedgerCheckFailing"))).toBe(true);
    const whole = of("1h", "VezaLedgerStuckOrders").matchers;
    expect(isReplaced(whole, of("2h", "VezaLedgerStuckOrders", "reason=x"))).toBe(false);
    expect(isReplaced(whole, silencingOf("staging", ["0h", "VezaLedgerStuckOrders"]))).toBe(false);
    expect(isReplaced(whole.toReversed(), of("2h", "VezaLedgerStuckOrders"))).toBe(true);
  });
});

it("counts the reasons of a log, of the journal and of Lambda", () => {
  const failure = { level: "error", message: "check failed", check: "stuck_orders", reason: "no column" };
  const { level, ...message } = failure;
  const lines = linesIn(
    [
      `2026-01-31T12:00:00+0000 veza-ledger-metrics[1]: ${JSON.stringify(failure)}`,
      `2026-01-31T12:00:00 ${JSON.stringify({ timestamp: "x", level, message })}`,
      "-- Boot 1 --",
    ].join("\n"),
  );
  expect(lines.map(({ time, text }) => [time, text])).toEqual([
    ["2026-01-31T12:00:00+0000", 'check failed {"check":"stuck_orders","reason":"no column"}'],
    ["2026-01-31T12:00:00", 'check failed {"check":"stuck_orders","reason":"no column"}'],
    ["", "-- Boot 1 --"],
  ]);
  const away = { check: "x", code: "ECONNREFUSED", reason: "refused" };
  expect(reasonsOf([...lines.slice(0, 2).map(({ fields }) => fields), away])).toEqual([
    "1 times, of x: ECONNREFUSED refused",
    "2 times, of stuck_orders: no code no column",
    "THE SAMPLER DOES NOT REACH POSTGRES. Call the platform engineer now.",
  ]);
});

describe("the addresses of a stage", () => {
  it("hold no password", () => {
    const stage = stageOf({ DATABASE_URL: url, PUSHGATEWAY_URL: "http://me:hunter2@gateway/", STAGE: "prod" });
    expect(JSON.stringify(stage)).not.toContain("hunter2");
    expect(stage).toMatchObject({ gateway: "http://me@gateway", gatewayAsks: "password", schema: "public" });
    expect(() => stageOf({ DATABASE_URL: "postgres://postgres@127.0.0.1/x" })).toThrow("veza_ledger_oncall@");
    expect(stageOf({ DATABASE_URL: url, PUSHGATEWAY_TOKEN: "t", PUSHGATEWAY_URL: "http://g" }).gatewayAsks).toBe(
      "token",
    );
    expect(stageOf({ DATABASE_URL: url, PUSHGATEWAY_URL: "http://v/api/v1/import/prometheus" }).gateway).toBe("");
  });

  it("lead to Postgres, by ~/.pgpass too", () => {
    const stage = stageOf({ DATABASE_URL: url, PGSSLMODE: "disable" });
    const target = targetOf(stage, "veza_ledger_oncall", "");
    expect(target).toMatchObject({ host: "::1", port: 5433, database: "led ger", tls: "off" });
    expect(targetOf({ ...stage, sslMode: "verify-full" }, "x", "")).toMatchObject({ username: "x", tls: "verified" });
    const file = "# a comment\n\\:\\:1:5433:other:*:no\n\\:\\:1:*:led ger:veza_ledger_oncall:p\\:w\\\\\n*:*:*:*:last\n";
    expect(passwordIn(file, target)).toBe("p:w\\");
    expect(passwordIn(file, { ...target, host: "elsewhere" })).toBe("last");
    expect(passwordIn("", target)).toBeUndefined();
  });
});
