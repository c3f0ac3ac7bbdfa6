// What raises each alarm of the template, and what raises none: the archives run as Lambda runs them, and the filters
// of the template read their logs. Only throttling is made up, since the stand-in for Lambda has none.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, inject, it } from "vitest";
import { type Alarm, alarmIn, datapointOf, stateOf, valuesOf } from "../helpers/alarm.ts";
import { databaseForTest } from "../helpers/database.ts";
import { type Invocation, orphanRefund, preload, signedEvent, startLambda } from "../helpers/lambda.ts";
import { defaultPackage, type FunctionName, type Resources, stage } from "../helpers/packages.ts";
import { newSecret } from "../helpers/receiver.ts";
import { ofType } from "../helpers/resources.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";
import { closedPort, tcpServer } from "../helpers/servers.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const secret = newSecret();
const delivery = (content: unknown, options = {}) => signedEvent(secret, content, options);

/** What happened in one period; no invocation where it was throttled. */
type Seen = { by: FunctionName; invocation?: Invocation }[];

/** What CloudWatch would have for the metric that an alarm looks at, in a period in which this was seen. */
function datapointIn(resources: Resources, alarm: Alarm, seen: Seen): number | undefined {
  if (alarm.Namespace === "AWS/Lambda") {
    const functions: Record<string, FunctionName> = {
      SamplerLambdaFunction: "sampler",
      ReceiverLambdaFunction: "receiver",
    };
    const own = seen.filter(({ by }) => by === functions[alarm.Dimensions?.[0]?.Value.Ref ?? ""]);
    const counts: Record<string, number> = {
      Invocations: own.filter(({ invocation }) => invocation).length,
      Errors: own.filter(({ invocation }) => invocation?.error).length,
      Throttles: own.filter(({ invocation }) => !invocation).length,
    };
    // The metrics of a URL are not among them: a stage may have no URL.
    return counts[alarm.MetricName] ?? Number.NaN;
  }
  const lines = seen.flatMap(({ by, invocation }) => (invocation?.log ?? []).map((text) => ({ atMs: 0, by, text })));
  return datapointOf(
    alarm,
    valuesOf(resources, alarm, lines).map(({ value }) => value),
  );
}

it("raises each alarm by its cause, and none without", async () => {
  const database = await databaseForTest();
  const packaged = await defaultPackage();
  const { resources } = packaged;
  const shared = { PUSHGATEWAY_URL: inject("pushgatewayUrl"), WEBHOOK_SECRET: secret };
  const manager = await fakeSecretsManager({
    [`veza-ledger-metrics/${stage}/sampler`]: { ...shared, DATABASE_URL: database.samplerUrl },
    [`veza-ledger-metrics/${stage}/receiver`]: { ...shared, DATABASE_URL: database.receiverUrl },
  });
  const start = async (name: FunctionName, environment: Record<string, string>, timeoutMs = 0) => {
    // Its own on the gateway, where test/aws/lambda.test.ts has the package's.
    const STAGE = "alarms";
    const { invoke } = await startLambda(packaged, name, { STAGE, ...environment }, { timeoutMs });
    /** Sends events to the function, one after the other. */
    return async (...events: object[]) => {
      const seen: Seen = [];
      for (const event of events) seen.push({ by: name, invocation: await invoke(event) });
      return seen;
    };
  };
  // Half an hour passes for a process when the file is there.
  const halfAnHourMs = 1_860_000;
  const later = path.join(await newFolder(), "later");
  const aging = preload(`import fs from "node:fs"; const now = Date.now;
    Date.now = () => now() + (fs.existsSync(${JSON.stringify(later)}) ? ${halfAnHourMs} : 0);`);
  const [sampler, receiver, deceived] = [
    await start("sampler", aging),
    await start("receiver", aging),
    await start("receiver", aging),
  ];

  const known = orphanRefund();
  const byAnother = (atMs: number) => signedEvent(newSecret(), "[]", { atMs });
  // All that a stranger may send is in test/totals/hostile.test.ts.
  const quiet = [
    ...(await sampler({}, {})),
    ...(await receiver(delivery(known, { id: "msg_known" }), delivery(known, { id: "msg_known" }), {})),
    ...(await deceived(byAnother(Date.now()))),
  ];
  const refused = await receiver(
    delivery([orphanRefund(), orphanRefund()], { id: "msg_known" }),
    delivery([{ type: "reconciler.unheard_of" }]),
    delivery(" ".repeat(300_000)),
    delivery(Array(1_001).fill(orphanRefund())),
  );
  const closed = { PUSHGATEWAY_URL: `http://127.0.0.1:${closedPort}` };
  const mute = { PUSHGATEWAY_URL: `http://127.0.0.1:${await tcpServer(() => {})}` };
  const unreachable = { DATABASE_URL: `postgres://u:p@127.0.0.1:${closedPort}/l` };
  const [failedTicks, blindTicks, failed, unconfirmed] = await Promise.all([
    start("sampler", closed).then((invoke) => invoke({})),
    start("sampler", unreachable).then((invoke) => invoke(...Array(6).fill({}))),
    start("receiver", mute, 2_000).then((invoke) => invoke(delivery("[]"))),
    start("receiver", unreachable).then((invoke) => invoke(delivery("[]"), delivery("[]"))),
  ]);

  await writeFile(later, "");
  const mismatched = await deceived(byAnother(Date.now() + halfAnHourMs));
  manager.failure = { __type: "InvalidRequestException", message: "" };
  // Secrets that cannot be read again cost no delivery and no tick.
  const old = await receiver(delivery("[]", { atMs: Date.now() + halfAnHourMs }));
  expect(old).toMatchObject([{ invocation: { result: { statusCode: 200 } } }]);
  const oldTick = await sampler({});
  expect(oldTick).toMatchObject([{ invocation: { result: { failed_transfers: 0 } } }]);

  const causes: [alarm: string, cause: Seen, count: number][] = [
    ["SamplerSilent", [], 0],
    ["SamplerErrors", failedTicks, 1],
    ["ReceiverErrors", failed, 1],
    ["ReceiverThrottles", [{ by: "receiver" }], 1],
    ["ReceiverUnavailable", unconfirmed, 2],
    ["ReceiverRefusals", refused, 4],
    ["ReceiverMismatches", mismatched, 1],
    ["Degraded", blindTicks, 12],
    ["Degraded", old, 12],
    ["Degraded", oldTick, 13], // Its clock is wrong, too: counts are -1.
  ];
  expect(new Set(causes.map(([name]) => name)).size).toBe(ofType(resources, "AWS::CloudWatch::Alarm").length);
  for (const [name, cause, count] of causes) {
    const alarm = alarmIn(resources, name);
    expect(datapointIn(resources, alarm, cause) ?? 0, name).toBe(count);
    const stateAt = (seen: Seen) => stateOf(alarm, Array(15).fill(datapointIn(resources, alarm, seen)));
    expect([name, stateAt(quiet), stateAt(cause)]).toEqual([name, "OK", "ALARM"]);
  }
});
