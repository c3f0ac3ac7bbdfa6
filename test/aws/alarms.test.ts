// What raises each alarm of the template, and what raises none. CloudWatch's part is played here: what the filters make
// of the lines that the functions write, and an alarm's state at each minute of hours of requests and ticks.

import type { Context } from "aws-lambda";
import { beforeEach, expect, inject, it, onTestFinished, vi } from "vitest";
import { log } from "../../lib/log.ts";
import type { FunctionName } from "../../lib/settings/settings.ts";
import { type Alarm, alarmIn, alarmState, alarmStates, datapointOf, type LogLine, valuesOf } from "../helpers/alarm.ts";
import { databaseForFile } from "../helpers/database.ts";
import { setEnvironment, withoutSettings } from "../helpers/environment.ts";
import { orphanRefund, signedEvent } from "../helpers/lambda.ts";
import { defaultPackage } from "../helpers/packages.ts";
import { newSecret } from "../helpers/receiver.ts";
import { ofType } from "../helpers/resources.ts";
import { closedPort } from "../helpers/servers.ts";

const { resources } = await defaultPackage();
const database = await databaseForFile();
const secret = newSecret();
const settings = { WEBHOOK_SECRET: secret, PUSHGATEWAY_URL: inject("pushgatewayUrl"), STAGE: "alarms" };
const unreachable = `postgres://u:p@127.0.0.1:${closedPort}/l`;
beforeEach(() => {
  setEnvironment({ ...withoutSettings, ...settings, AWS_LAMBDA_LOG_FORMAT: "JSON" });
  onTestFinished(() => setEnvironment({ AWS_LAMBDA_LOG_FORMAT: undefined }));
});

type Handler = (event: never, context: Context, callback: () => void) => unknown;

/** Runs a handler, and resolves to the texts of its lines, as Lambda's JSON format has them. */
async function textsOf(handler: Handler, event: object): Promise<string[]> {
  const texts: string[] = [];
  const spies = (["info", "warn", "error"] as const).map((level) =>
    vi.spyOn(console, level).mockImplementation((message) => void texts.push(JSON.stringify({ level, message }))),
  );
  await handler(event as never, {} as Context, () => {});
  for (const spy of spies) spy.mockRestore();
  return texts;
}

/** The receiver as in a new process, which shares nothing with others. */
async function newReceiver(): Promise<Handler> {
  vi.resetModules();
  return (await import("../../handlers/receiver.ts")).handler;
}
const processes: Handler[] = [];
while (processes.length < 5) processes.push(await newReceiver());

/** A request at this time, or a delivery that is recorded. */
type Request = ((atMs: number) => object) | "recorded";
interface Traffic {
  request: Request;
  /** In minutes. */
  from: number;
  to: number;
  everySeconds: number;
}

const minuteMs = 60_000;
const firstMs = Date.parse("2026-01-31T12:00:00Z");
let startMs = firstMs;

/** The line of a delivery: a real delivery's, once for all plays. */
let recorded = "";
beforeEach(async () => {
  setEnvironment({ DATABASE_URL: database.receiverUrl });
  const [first] = processes as [Handler];
  while (!recorded.includes('"delivery"')) [recorded = ""] = await textsOf(first, signedEvent(secret, "[]"));
});

/**
 * Plays traffic on so many processes. Returns the states of `receiver-mismatches` at each minute, by how many ms late
 * the log arrives.
 */
async function play(count: number, minutes: number, ...traffic: Traffic[]) {
  startMs += 86_400_000; // The processes know what they logged the last time.
  vi.useFakeTimers({ toFake: ["Date", "performance"], now: firstMs });
  vi.advanceTimersByTime(startMs - firstMs); // The monotonic clock begins anew.
  onTestFinished(() => void vi.useRealTimers());
  const [first] = processes as [Handler];
  const requests = traffic.flatMap(({ request, from, to, everySeconds }) => {
    const times: { atMs: number; request: Request }[] = [];
    for (let ms = from * minuteMs; ms < to * minuteMs; ms += everySeconds * 1000)
      times.push({ atMs: startMs + ms, request });
    return times;
  });
  const lines: LogLine[] = [];
  let seed = 1;
  for (const { atMs, request } of requests.sort((a, b) => a.atMs - b.atMs)) {
    seed = (seed * 48_271) % 2_147_483_647; // Any process takes a request; the same in each run.
    vi.advanceTimersByTime(atMs - Date.now());
    const texts = request === "recorded" ? [recorded] : await textsOf(processes[seed % count] ?? first, request(atMs));
    lines.push(...texts.map((text) => ({ atMs, by: "receiver" as const, text })));
  }
  const alarm = alarmIn(resources, "ReceiverMismatches");
  const values = valuesOf(resources, alarm, lines);
  const [fromMs, toMs] = [startMs, startMs + minutes * minuteMs];
  return (delayMs: number) => alarmStates(alarm, values, fromMs, toMs, delayMs);
}
const delaysMs = [0, 2 * minuteMs];

/** What an alarm's metric has in a period in which a function wrote these texts. */
function valueIn(alarm: Alarm, by: FunctionName, texts: string[]): number | undefined {
  const lines = texts.map((text) => ({ atMs: 0, by, text }));
  return datapointOf(alarm, valuesOf(resources, alarm, lines));
}

const none = (periods: number) => Array<undefined>(periods).fill(undefined);
const minutely = Array(60).fill(1);

it.each([
  ["ALARM", "SamplerSilent", "a sampler that never ran", none(15)],
  ["OK", "SamplerSilent", "the first tick of a new stack", [...none(60), 1]],
  ["OK", "SamplerSilent", "4 minutes of silence", [...minutely, ...none(4)]],
  ["ALARM", "SamplerSilent", "15 minutes of silence", [...minutely, ...none(15)]],
  ["ALARM", "SamplerSilent", "10 hours of silence", [...minutely, ...none(600)]],
  ["OK", "SamplerSilent", "the end of a silence", [...minutely, ...none(600), 1]],
  ["OK", "SamplerErrors", "2 failed ticks of 5", [0, 1, 0, 1, 0]],
  ["ALARM", "SamplerErrors", "3 failed ticks of 5", [1, 0, 1, 0, 1]],
  ["ALARM", "ReceiverErrors", "a crash", [...none(20), 1]],
  ["OK", "ReceiverThrottles", "a burst of 2 minutes", [...none(20), 50, 50]],
  ["ALARM", "ReceiverThrottles", "3 throttled minutes of 5", [...none(20), 1, undefined, 1, 1]],
  ["OK", "ReceiverUnavailable", "a delivery that is not confirmed", [...none(20), 1]],
  ["ALARM", "ReceiverRefusals", "a refused delivery", [...none(20), 1]],
])("has the state %s of the alarm %s after %s", (state, name, _, series) => {
  expect(alarmState(alarmIn(resources, name), series)).toBe(state);
});

it("counts what Lambda counts of the function that an alarm is about", () => {
  const seen = ["SamplerSilent", "SamplerErrors", "ReceiverErrors", "ReceiverThrottles"].map((name) => {
    const { Namespace, MetricName, Dimensions } = alarmIn(resources, name);
    return `${Namespace} ${MetricName} of ${Dimensions?.[0]?.Value.Ref}`;
  });
  expect(seen).toEqual([
    "AWS/Lambda Invocations of SamplerLambdaFunction",
    "AWS/Lambda Errors of SamplerLambdaFunction",
    "AWS/Lambda Errors of ReceiverLambdaFunction",
    "AWS/Lambda Throttles of ReceiverLambdaFunction",
  ]);
});

it("counts deliveries that are refused or not confirmed, and nothing of those that are well", async () => {
  const [first, second] = [await newReceiver(), await newReceiver()];
  const receive = async (receiver: Handler, ...events: object[]) => {
    const texts: string[] = [];
    for (const event of events) texts.push(...(await textsOf(receiver, event)));
    return texts;
  };
  const known = signedEvent(secret, orphanRefund(), { id: "msg_known" });
  // All that a stranger may send is in test/totals/hostile.test.ts.
  const well = await receive(first, known, known, {}, signedEvent(newSecret(), "[]"));
  const refused = await receive(
    first,
    signedEvent(secret, [orphanRefund(), orphanRefund()], { id: "msg_known" }),
    signedEvent(secret, [{ type: "reconciler.unheard_of" }]),
    signedEvent(secret, " ".repeat(300_000)),
    signedEvent(secret, Array(1_001).fill(orphanRefund())),
  );
  setEnvironment({ DATABASE_URL: unreachable });
  const unconfirmed = await receive(second, signedEvent(secret), signedEvent(secret));

  const [refusals, unavailable] = [alarmIn(resources, "ReceiverRefusals"), alarmIn(resources, "ReceiverUnavailable")];
  expect(valueIn(refusals, "receiver", refused)).toBe(4);
  expect(valueIn(unavailable, "receiver", unconfirmed)).toBe(2);
  expect(alarmState(unavailable, [2])).toBe("ALARM");
  for (const alarm of ofType(resources, "AWS::CloudWatch::Alarm") as unknown as Alarm[]) {
    if (alarm.Namespace !== "AWS/Lambda") expect(valueIn(alarm, "receiver", well) ?? 0, alarm.MetricName).toBe(0);
  }
  const mismatches = alarmIn(resources, "ReceiverMismatches");
  const signed = [refused, unconfirmed].map((texts) => valueIn(mismatches, "receiver", texts));
  expect(signed, "their signatures match").toEqual([0, 0]);
});

it.each(["sampler", "receiver"] as const)(
  "alarms when the %s works with secrets from over 30 minutes ago",
  async (by) => {
    const degraded = alarmIn(resources, "Degraded");
    const message = "secrets not read again, the last ones stay in use"; // The log takes no other text: secrets.test.ts.
    const stateAfter = async (age_seconds: number) => {
      const texts = await textsOf(() => log("warn", message, { age_seconds, reason: "" }), {});
      return alarmState(degraded, [valueIn(degraded, by, texts)]);
    };
    expect([await stateAfter(1_800), await stateAfter(1_801)]).toEqual(["OK", "ALARM"]);
  },
);

const mismatched: Request = (atMs) => signedEvent(newSecret(), "[]", { atMs });
const clockOff = (seconds: number): Request => {
  return (atMs) => signedEvent(secret, "[]", { atMs: atMs + seconds * 1000 });
};
/** What strangers send to each address, none of it signed for this service. */
const posted = (headers: Record<string, string>) => ({
  requestContext: { http: { method: "POST" } },
  headers,
  body: "",
});
const unsigned = [
  { requestContext: { http: { method: "GET" } } },
  posted({}),
  posted({ "webhook-id": "1", "webhook-signature": "x" }),
  posted({ "webhook-id": "1", "webhook-timestamp": "1614265330", "webhook-signature": "v1,x" }),
];
let sent = 0;
const noise: Request = () => unsigned[sent++ % unsigned.length] as object;

it("raises no alarm by noise alone, nor without traffic", async () => {
  const traffic = { request: noise, from: 0, to: 240, everySeconds: 5 };
  for (const statesAfter of [await play(5, 240, traffic), await play(5, 240)]) {
    expect(new Set(statesAfter(0))).toEqual(new Set(["OK"]));
  }
});

it.each([
  [5, 60],
  [3, 720],
])("raises no alarm by forged requests next to deliveries, in %i processes, every %i s", async (count, seconds) => {
  const statesAfter = await play(
    count,
    240,
    { request: "recorded", from: 0, to: 240, everySeconds: seconds },
    { request: mismatched, from: 0, to: 240, everySeconds: 20 },
    { request: noise, from: 0, to: 240, everySeconds: 30 },
  );
  for (const delayMs of delaysMs) expect(new Set(statesAfter(delayMs))).toEqual(new Set(["OK"]));
});

it.each([
  ["by a rotation", 5, 1, mismatched],
  ["by a rotation", 480, 1, mismatched],
  ["by a rotation", 1800, 1, mismatched],
  ["by a clock 10 min late", 60, 2, clockOff(-600)],
  ["by a clock 10 min ahead", 900, 2, clockOff(600)],
] as const)("alarms when nothing is accepted %s, every %i s, in %i processes", async (_, seconds, count, refused) => {
  const rhythm = seconds / 60;
  // Deliveries for an hour, then an hour or more of requests that are refused, then deliveries.
  const [refusedFrom, repairedAt] = [60 + rhythm, 60 + Math.max(60, 3 * rhythm) + rhythm];
  const statesAfter = await play(
    count,
    repairedAt + 60,
    { request: "recorded", from: 60 % rhythm, to: 60.001, everySeconds: seconds },
    { request: refused, from: refusedFrom, to: repairedAt, everySeconds: seconds },
    { request: "recorded", from: repairedAt, to: repairedAt + 60, everySeconds: seconds },
    { request: noise, from: 0, to: repairedAt + 60, everySeconds: 30 },
  );
  for (const delayMs of delaysMs) {
    const states = statesAfter(delayMs);
    const delay = delayMs / minuteMs;
    const alarmAt = states.findIndex((state) => state !== "OK");
    expect([states[alarmAt], alarmAt]).toEqual(["ALARM", 61 + Math.ceil(Math.max(15, rhythm + delay))]);
    // It ends with the first delivery, and stays so.
    expect(new Set(states.slice(Math.ceil(repairedAt) + 2 + delay))).toEqual(new Set(["OK"]));
  }
});
