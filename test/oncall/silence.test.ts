import { describe, expect, it } from "vitest";
import {
  equal,
  isOurs,
  isReplaced,
  type Silence,
  silencedUntil,
  silencingOf,
  whenOf,
} from "../../commands/oncall/silence.ts";
import { done, failed, stageWith } from "../helpers/on-call.ts";
import { httpServer } from "../helpers/servers.ts";

describe("silence", () => {
  it("reads spans as people write them", () => {
    expect(silencingOf("prod", ["08h", "VezaLedgerStuckRefunds"]).seconds).toBe(8 * 3_600);
    expect(silencingOf("prod", ["010m", "alertname=VezaLedgerStuckRefunds"]).seconds).toBe(600);
  });
  it.each([
    ["8h", "Say for how long"],
    ["VezaLedgerAlive", "Say for how long"],
    ["8 VezaLedgerAlive", "Say for how long"],
    ["8h VezaLedger", "Say for how long"],
    ["8hm VezaLedgerAlive", "Say for how long"],
    ["2h VezaLedgerCheckFailing", "Which check?"],
    ["2h VezaLedgerAlive stage=x", "'stage=x' is none of"],
    ["2h VezaLedgerStuckOrders check=nope", "there is no check 'nope'"],
    ["2h VezaLedgerStuckOrders reason=repaired late", "Quote what has a space: 'reason=repaired late'"],
  ])("refuses %s", (words, says) => {
    expect(() => silencingOf("prod", words.split(" "))).toThrow("Nothing is silenced");
    expect(() => silencingOf("prod", words.split(" "))).toThrow(says);
  });
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

const silence = (endsAt: string, ...matchers: Silence["matchers"]): Silence => ({
  id: endsAt,
  status: { state: "active" },
  matchers,
  startsAt: "2026-01-31T00:00:00Z",
  endsAt,
  createdBy: "on call",
  comment: "",
});
const orders = { alertname: "VezaLedgerStuckOrders", stage: "prod", reason: "repaired late" };
const ofOrders = equal("alertname", orders.alertname);
const all = { name: "alertname", value: "VezaLedger.+", isRegex: true };

it("says until when an alert is silenced: until the last silence of it ends that has begun", () => {
  expect(silencedUntil(orders, [silence("1", ofOrders), silence("2", all)])).toBe("2");
  expect(silencedUntil(orders, [silence("1", ofOrders, equal("reason", ""))])).toBeUndefined();
  expect(silencedUntil({ alertname: orders.alertname }, [silence("1", ofOrders, equal("reason", ""))])).toBe("1");
  expect(silencedUntil(orders, [silence("1", { ...ofOrders, isEqual: false })])).toBeUndefined();
  expect(silencedUntil(orders, [silence("1", { ...ofOrders, value: "Ledger", isRegex: true })])).toBeUndefined();
  expect(silencedUntil(orders, [silence("1", { ...ofOrders, value: "(?i)x(", isRegex: true })])).toBeUndefined();
  expect(silencedUntil(orders, [{ ...silence("1", ofOrders), status: { state: "pending" } }])).toBeUndefined();
});

it("makes the new silence before it ends the earlier one, which goes on where that fails", async () => {
  const asked: unknown[] = [];
  let status = 200;
  const alertmanager = await httpServer(({ method, url }, response) => {
    if (method !== "GET") asked.push(`${method} ${url}`);
    response.writeHead(method === "POST" ? status : 200);
    response.end(
      url?.endsWith("/silences") ? JSON.stringify([silence("old", ofOrders, equal("stage", "prod"))]) : "[]",
    );
  });
  const stage = stageWith({ ALERTMANAGER_URL: alertmanager });
  await done(stage, "silence 8h VezaLedgerStuckOrders");
  expect(asked.splice(0)).toEqual(["POST /api/v2/silences", "DELETE /api/v2/silence/old"]);
  status = 500;
  expect(await failed(stage, "silence 8h VezaLedgerStuckOrders")).toContain("Alertmanager answers 500");
  expect(asked).toEqual(["POST /api/v2/silences"]);
});

it.each<[isOne: boolean, what: string, matchers: Silence["matchers"]]>([
  [true, "an alert of the stage", [ofOrders, equal("stage", "prod")]],
  [true, "all alerts of the service", [all]],
  [true, "any alert of the stage", [equal("stage", "prod")]],
  [true, "an alert without a stage", [equal("alertname", "VezaLedgerAlertsFail")]],
  [true, "another alert alone is not", [{ ...equal("alertname", "Watchdog"), isEqual: false }]],
  [false, "another stage", [ofOrders, equal("stage", "staging")]],
  [false, "an alert of others", [equal("alertname", "KubePodCrashLooping")]],
  [false, "a host", [equal("instance", "db-1")]],
])("lists for the next shift (%s) a silence of %s", (isOne, _, matchers) => {
  expect(isOurs(silence("1", ...matchers), "prod")).toBe(isOne);
});

it("shows times in the zone of the stage", () => {
  expect(whenOf("2026-01-31T12:00:00Z", "Europe/Paris")).toBe("2026-01-31 13:00 Europe/Paris");
});
