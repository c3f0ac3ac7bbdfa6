// Which part stands still where no tick arrives.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Command, Context } from "./command.ts";
import { ageOfTick, jobsThatPushOurs } from "./gateway-page.ts";
import { isServiceActive, type LogLine, readLog } from "./log.ts";
import { Refusal } from "./terminal.ts";

/** What `why_silent` has found out. Ages are in seconds. */
export interface Facts {
  onGateway: number | undefined;
  inPrometheus: number | undefined;
  /** Undefined: this file has no address of it. */
  prometheus: boolean | undefined;
  alertmanager: boolean | undefined;
  /** Undefined: it was not asked, or let nobody in. */
  gateway: boolean | undefined;
  /** Lines of the last 3 minutes, without those that say nothing of ticks; or why they are unknown. */
  log: LogLine[] | Refusal;
  /** Undefined: not of this host. */
  service: boolean | undefined;
  isOnAws: boolean;
  strangers: string[];
}

/** What stands still, in sentences for people: the worst first. */
export function verdictOf(facts: Facts): string[] {
  const { onGateway = 999, inPrometheus = 999, log, service } = facts;
  const isOnTheHost = service !== undefined;
  const asked = [facts.prometheus, facts.alertmanager, facts.gateway].filter((answers) => answers !== undefined);
  if (!isOnTheHost && asked.length > 1 && !asked.includes(true)) {
    return [
      "NONE OF THE SERVERS ANSWERS YOU. Is your VPN down? If it is not, ask somebody else to run this.",
      "If none answers them either, no alert can fire: call the platform engineer.",
    ];
  }
  const said: string[] = [];
  if (facts.prometheus === false) {
    said.push("PROMETHEUS DOES NOT ANSWER, so no alert can fire. Call the platform engineer now.");
  }
  if (facts.alertmanager === false) {
    said.push("ALERTMANAGER DOES NOT ANSWER, so no alert reaches anybody. Call the platform engineer now.");
  }
  const arrives = onGateway < 180;
  if (facts.gateway === false) {
    said.push("THE GATEWAY DOES NOT ANSWER. Call the platform engineer now, who restarts it: it may start empty.");
  } else if (!(log instanceof Refusal) && !facts.isOnAws && service === false) {
    said.push(
      "THE SERVICE DOES NOT RUN. Call the platform engineer now: systemctl status veza-ledger-metrics says why.",
    );
  } else if (log instanceof Refusal) {
    said.push("The log is unknown:", ...log.lines);
  } else if (log.length === 0) {
    said.push("THE SAMPLER DOES NOTHING: its log has no line of the last 3 minutes. Call the platform engineer now.");
  } else if (inPrometheus < 180 && (arrives || facts.gateway === undefined)) {
    said.push("TICKS ARRIVE. The alert ends within 10 minutes, by itself.");
    const tick = log.findLast(({ message }) => message === "tick");
    if (Object.values(tick?.fields ?? {}).includes(-1)) said.push("BUT A COUNT IS -1: follow VezaLedgerCheckFailing.");
  } else if (arrives) {
    if (facts.prometheus) {
      said.push(
        "PROMETHEUS IS BEHIND THE GATEWAY: it does not scrape it, or its clock is fast. Call the platform engineer.",
      );
    } else if (facts.prometheus === undefined) {
      said.push("TICKS ARRIVE AT THE GATEWAY. Whether Prometheus has them is unknown: this file has no address of it.");
    }
  } else if (log.slice(-5).some(({ message }) => message === "tick")) {
    said.push(
      "TICKS ARE IN THE LOG, AND DO NOT ARRIVE: they go elsewhere, or a clock is slow. Call the platform engineer.",
    );
  } else {
    said.push("THE TICKS FAIL. Their errors, the newest last:");
    for (const job of facts.strangers) {
      said.push(`ANOTHER JOB PUSHES OUR METRICS: job="${job}". Its owner has to stop it, and to delete its group.`);
    }
  }
  return said;
}

async function whySilent({ print, printAsIs, servers, stage, strong }: Context): Promise<void> {
  const known = <T>(work: Promise<T>) => work.catch(() => undefined);
  const gateway = await servers.isReady("gateway"); // First: it may ask for a password.
  const last = `floor(time() - max(last_over_time(veza_ledger_sample_timestamp_seconds{stage="${stage.name}"}[1d])))`;
  const [page, answer, prometheus, alertmanager, lines, service] = await Promise.all([
    gateway ? known(servers.gateway("/metrics")) : undefined,
    known(servers.query(last)),
    servers.isReady("prometheus"),
    servers.isReady("alertmanager"),
    readLog(stage, "sampler", "3m").catch((error: Refusal) => error),
    isServiceActive(),
  ]);
  const log =
    lines instanceof Refusal ? lines : lines.filter(({ message }) => !/^(rows counted|delivery)$/.test(message));
  const onGateway = page === undefined ? undefined : ageOfTick(page, stage.name);
  const inPrometheus = answer?.[0] && Number(answer[0].value[1]);
  const [first = "", ...more] = verdictOf({
    onGateway,
    inPrometheus,
    prometheus: prometheus && Boolean(answer),
    alertmanager,
    gateway,
    log,
    service,
    isOnAws: Boolean(stage.awsRegion),
    strangers: jobsThatPushOurs(page ?? ""),
  });
  const ago = (age: number | undefined, unknown?: string) => unknown ?? (age === undefined ? "none" : `${age} s ago`);
  const whyUnknown = gateway === undefined ? "unknown, as it was not asked or let nobody in" : undefined;
  print(strong(first), ...more);
  print(`The last tick: on the gateway ${ago(onGateway, whyUnknown)}, in Prometheus ${ago(inPrometheus)}.`);
  if (!(log instanceof Refusal)) printAsIs(...log.slice(-3).map(({ time, text }) => `${time} ${text}`.slice(0, 300)));
  if (stage.awsRegion) await printAlarms(stage.name, stage.awsRegion, print);
}

async function printAlarms(stage: string, region: string, print: Context["print"]): Promise<void> {
  const named = ["--alarm-name-prefix", `veza-ledger-metrics-${stage}`, "--state-value", "ALARM"];
  const shown = ["--query", "MetricAlarms[].AlarmName", "--output", "text"];
  const args = ["cloudwatch", "describe-alarms", ...named, ...shown];
  const alarms = await promisify(execFile)("aws", args, { env: { ...process.env, AWS_REGION: region } }).then(
    ({ stdout }) => stdout.trim(),
    () => "unknown, as AWS does not show them",
  );
  if (alarms) print(`Alarms of CloudWatch that have gone off: ${alarms}`);
}

export const whySilentCommands: Command[] = [
  {
    name: "why_silent",
    calls: ["why_silent"],
    help: "Which of sampler, gateway, Prometheus and Alertmanager stands still, and whom to call.",
    run: whySilent,
  },
];
