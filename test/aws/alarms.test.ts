// Each alarm of the template is raised by its cause, in each variant of the template. The archives run as Lambda runs
// them, and the template's filters read their logs. Only throttling is made up, since the stand-in for Lambda has none.
import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, inject, it, onTestFinished } from "vitest";
import { signedHeaders } from "../../commands/deliver.ts";
import { type Alarm, extraPeriods, stateOf } from "../helpers/alarm.ts";
import { createDatabase } from "../helpers/database.ts";
import { matchesFilter } from "../helpers/filter-pattern.ts";
import { type Invocation, startLambda } from "../helpers/lambda.ts";
import { type FunctionName, packageService, type Resources } from "../helpers/packages.ts";
import { awsCredentials, startRds } from "../helpers/rds.ts";
import { newSecret } from "../helpers/receiver.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";
import { closedPort, tcpServer } from "../helpers/servers.ts";

const secret = newSecret();
const stage = "alarms";

const orphanRefund = () => ({ type: "reconciler.orphan_refund", timestamp: new Date().toISOString() });

/** An event as a function URL makes it, signed at `atMs`; `headers` replace the right headers. */
function delivery(content: unknown, { id = `msg_${randomUUID()}`, atMs = Date.now(), headers = {} } = {}) {
  const body = typeof content === "string" ? content : JSON.stringify(content);
  return {
    requestContext: { http: { method: "POST" } },
    headers: { ...signedHeaders(secret, id, new Date(atMs), body), ...headers },
    body,
  };
}

interface Variant {
  params: object;
  /** The environment of both functions, next to the template's. */
  environment?: Record<string, string>;
  /** The settings in each function's secret. */
  secrets: Partial<Record<FunctionName, Record<string, string>>>;
}

const withPasswords = async (params: object): Promise<Variant> => {
  const database = await createDatabase();
  onTestFinished(() => database.remove());
  const shared = { PUSHGATEWAY_URL: inject("pushgatewayUrl"), WEBHOOK_SECRET: secret };
  return {
    params,
    secrets: {
      sampler: { ...shared, DATABASE_URL: database.samplerUrl },
      receiver: { ...shared, DATABASE_URL: database.receiverUrl },
    },
  };
};

const withoutPasswords = async (params: object): Promise<Variant> => {
  const rds = await startRds();
  return {
    params: {
      ...params,
      databaseUrl: rds.addressUrl,
      databaseResourceId: "db-ABCDEFGHIJKL",
      pushgatewayUrl: inject("pushgatewayUrl"),
      samplerSecretId: "",
    },
    environment: { ...awsCredentials, NODE_EXTRA_CA_CERTS: rds.certificatesFile },
    secrets: { receiver: { WEBHOOK_SECRET: secret } },
  };
};

/** What happened in one period; no invocation where it was throttled. */
type Seen = { by: FunctionName; invocation?: Invocation }[];

/** What CloudWatch would count in a period for the metric that an alarm looks at. */
function countOf(resources: Resources, alarm: Alarm, seen: Seen): number {
  const { Namespace, MetricName, Dimensions } = alarm;
  if (Namespace === "AWS/Lambda") {
    const names: Record<string, FunctionName> = {
      SamplerLambdaFunction: "sampler",
      ReceiverLambdaFunction: "receiver",
    };
    const own = seen.filter(({ by }) => names[Dimensions?.[0]?.Value.Ref ?? ""] === by);
    const counts: Record<string, number> = {
      Invocations: own.filter(({ invocation }) => invocation).length,
      Errors: own.filter(({ invocation }) => invocation?.error).length,
      Throttles: own.filter(({ invocation }) => !invocation).length,
    };
    // The metrics of a URL are not among them: one variant has no URL.
    return counts[MetricName] ?? Number.NaN;
  }
  let count = 0;
  for (const { Type, Properties } of Object.values(resources)) {
    if (Type !== "AWS::Logs::MetricFilter") continue;
    const { FilterPattern, LogGroupName, MetricTransformations } = Properties as {
      FilterPattern: string;
      LogGroupName: { Ref: string };
      MetricTransformations: { MetricNamespace: string; MetricName: string; MetricValue: string }[];
    };
    const [metric] = MetricTransformations;
    if (metric?.MetricNamespace !== Namespace || metric?.MetricName !== MetricName) continue;
    expect(metric?.MetricValue).toBe("1");
    const by = { SamplerLogGroup: "sampler", ReceiverLogGroup: "receiver" }[LogGroupName.Ref];
    const lines = seen.filter((entry) => entry.by === by).flatMap(({ invocation }) => invocation?.log ?? []);
    count += lines.filter((line) => matchesFilter(FilterPattern, line)).length;
  }
  return count;
}

it.each([
  ["as it is", () => withPasswords({})],
  [
    "without a URL, and with nothing reserved",
    () => withPasswords({ urlAuthorizer: "off", receiverConcurrency: "off" }),
  ],
  ["with IAM, and no secret for the sampler", () => withoutPasswords({ urlAuthorizer: "aws_iam" })],
])("raises each alarm by its cause, and none without, in the template %s", async (_, makeVariant) => {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-alarms-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const { params, environment = {}, secrets } = await makeVariant();
  const packaged = await packageService(folder, stage, params);
  const { resources } = packaged;
  const manager = await fakeSecretsManager(
    Object.fromEntries(Object.entries(secrets).map(([name, texts]) => [`veza-ledger-metrics/${stage}/${name}`, texts])),
  );
  const start = async (name: FunctionName, changes: Record<string, string> = {}, timeoutMs = 0) => {
    const { invoke } = await startLambda(packaged, name, { ...environment, ...changes }, { timeoutMs });
    /** Sends events to the function, one after the other. */
    return async (...events: object[]) => {
      const seen: Seen = [];
      for (const event of events) seen.push({ by: name, invocation: await invoke(event) });
      return seen;
    };
  };
  // Half an hour passes for a process when the file is there.
  const halfAnHourMs = 1_860_000;
  const later = path.join(folder, "later");
  const clock = `import fs from "node:fs"; const now = Date.now;
    Date.now = () => now() + (fs.existsSync(${JSON.stringify(later)}) ? ${halfAnHourMs} : 0);`;
  const aging = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(clock)}` };

  const known = orphanRefund();
  const sampler = await start("sampler", aging);
  const ticks = await sampler({}, {});
  const receiver = await start("receiver", aging);
  const answered = await receiver(
    delivery(known, { id: "msg_known" }),
    delivery(known, { id: "msg_known" }),
    // Noise from the internet.
    {},
    { ...delivery("[]"), headers: {} },
    { ...delivery(" ".repeat(300_000)), headers: {} },
    delivery("[]", { headers: { "webhook-signature": "v1,guess" } }),
    delivery("[]", { atMs: Date.now() - 3_600_000 }),
    // Forged, as far as a stranger can.
    delivery("[]", { headers: { "webhook-signature": `v1,${"A".repeat(43)}=` } }),
    delivery(" ".repeat(300_000), { headers: { "webhook-signature": `v1,${"A".repeat(43)}=` } }),
    { ...delivery("[]"), body: ["no text"] },
  );
  if (!secrets.sampler) expect(manager.reads).not.toContain(`veza-ledger-metrics/${stage}/sampler`);
  const refused = await receiver(
    delivery([orphanRefund(), orphanRefund()], { id: "msg_known" }),
    delivery([{ type: "reconciler.unheard_of" }]),
    delivery(" ".repeat(300_000)),
    delivery(Array(1_001).fill(orphanRefund())),
  );

  const closed = { PUSHGATEWAY_URL: `http://127.0.0.1:${closedPort}` };
  const mute = { PUSHGATEWAY_URL: `http://127.0.0.1:${await tcpServer(() => {})}` };
  const unreachable = { DATABASE_URL: `postgres://u:p@127.0.0.1:${closedPort}/l` };
  const [failedTicks, failed, unconfirmed] = await Promise.all([
    start("sampler", closed).then((invoke) => invoke({})),
    start("receiver", mute, 2_000).then((invoke) => invoke(delivery("[]"))),
    start("receiver", unreachable).then((invoke) => invoke(delivery("[]"), delivery("[]"))),
  ]);

  const deceived = await start("receiver", aging);
  const bySomebodyElse = (atMs: number) => ({
    ...delivery("[]"),
    headers: signedHeaders(newSecret(), "msg_1", new Date(atMs), "[]"),
  });
  const mismatched = await deceived(bySomebodyElse(Date.now()));
  await writeFile(later, "");
  const stillMismatched = await deceived(bySomebodyElse(Date.now() + halfAnHourMs));
  manager.failure = { __type: "InvalidRequestException", message: "" };
  const old = await receiver(delivery("[]", { atMs: Date.now() + halfAnHourMs }));
  // Secrets that cannot be read again cost no delivery and no tick.
  const late = await sampler({});
  expect(old[0]?.invocation?.result).toMatchObject({ statusCode: 200 });
  expect(late[0]?.invocation).not.toHaveProperty("error");

  const causes: Record<string, Seen> = {
    SamplerSilentAlarm: [],
    SamplerErrorsAlarm: failedTicks,
    ReceiverErrorsAlarm: failed,
    ReceiverThrottlesAlarm: [{ by: "receiver" }],
    ReceiverUnavailableAlarm: unconfirmed,
    ReceiverRefusalsAlarm: refused,
    ReceiverMismatchesAlarm: stillMismatched,
    OldSecretsAlarm: old,
  };
  const alarms = Object.entries(resources).filter(([, { Type }]) => Type === "AWS::CloudWatch::Alarm");
  expect(alarms.map(([id]) => id).sort()).toEqual(Object.keys(causes).sort());
  for (const [id, { Properties }] of alarms) {
    const alarm = Properties as unknown as Alarm;
    const series = (seen: Seen, length: number) => Array(length).fill(countOf(resources, alarm, seen) || undefined);
    const quiet = series([...ticks, ...answered, ...mismatched], 20);
    const cause = causes[id] ?? [];
    for (const extra of extraPeriods) {
      const caused = series(
        cause,
        (alarm.DatapointsToAlarm ?? alarm.EvaluationPeriods) + (cause.length > 0 ? 0 : extra),
      );
      expect([id, stateOf(alarm, quiet, extra)]).toEqual([id, "OK"]);
      expect([id, stateOf(alarm, [...quiet, ...caused], extra)]).toEqual([id, "ALARM"]);
      // Also where nothing was ever seen before.
      expect([id, stateOf(alarm, caused, extra)]).toEqual([id, "ALARM"]);
    }
  }
  expect(countOf(resources, resources.ReceiverRefusalsAlarm?.Properties as never, refused)).toBe(4);
});
