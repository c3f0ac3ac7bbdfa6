// What Prometheus, Alertmanager, the gateway and Hyperswitch say.
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { Command, Context } from "./command.ts";
import { ageOfTick, jobsThatPushOurs, lastPushes } from "./gateway-page.ts";
import { isServiceActive, type LogLine, readLog } from "./log.ts";
import type { Matcher } from "./servers.ts";
import { Refusal } from "./terminal.ts";

const equal = (name: string, value: string): Matcher => ({ name, value, isRegex: false, isEqual: true });

/** Silences for so many seconds. */
const addSilence = (
  { servers }: Context,
  matchers: Matcher[],
  seconds: number,
  comment: string,
): Promise<{ silenceID: string }> => {
  const now = Date.now();
  const [startsAt, endsAt] = [now, now + seconds * 1_000].map((time) => new Date(time).toISOString());
  const body = JSON.stringify({ matchers, comment, startsAt, endsAt, createdBy: "on call" });
  return servers.alertmanager("silences", { method: "POST", headers: { "content-type": "application/json" }, body });
};

export interface Silencing {
  seconds: number;
  matchers: Matcher[];
}

/** What the words after `silence` mean. Refuses what is no span, no alert of ours, or would mute too much. */
export function silencingOf(stage: string, [span = "", given = "", ...more]: string[]): Silencing {
  const alert = given.replace(/^alertname=/, "");
  const [, number, unit = ""] = /^(\d+)([mhd])$/.exec(span) ?? [];
  if (!number || !/^VezaLedger[A-Z]/.test(alert)) {
    throw new Refusal("Nothing is silenced. Say for how long, and which alert: silence 8h VezaLedgerStuckRefunds");
  }
  const labels = more.map((text) => {
    const [, name, value] = /^(check|reason|phase|state)=(.+)$/s.exec(text) ?? [];
    if (name && value) return equal(name, value);
    throw new Refusal(`Nothing is silenced: '${text}' is none of check=, reason=, phase= and state=.`);
  });
  const seconds = Number(number) * ({ m: 60, h: 3_600, d: 86_400 }[unit] ?? 0);
  if (seconds > 0 && alert === "VezaLedgerCheckFailing" && !labels.some(({ name }) => name === "check")) {
    throw new Refusal(`Nothing is silenced. Which check? silence ${span} ${alert} check=stuck_orders`);
  }
  // What these tell of has no stage.
  const ofStage = alert === "VezaLedgerAlertsFail" ? [] : [equal("stage", stage)];
  return { seconds, matchers: [equal("alertname", alert), ...ofStage, ...labels] };
}

const keysOf = (matchers: Matcher[]) =>
  matchers.map(({ name, value, isRegex, isEqual }) => JSON.stringify([name, value, isRegex, isEqual !== false])).sort();

/** Whether a silence is replaced by one of these: it is of the same alerts or, where all end, of a part of them. */
export function isReplaced(theirs: Matcher[], { seconds, matchers }: Silencing): boolean {
  const [old, ours] = [keysOf(theirs), keysOf(matchers)];
  return ours.every((key) => old.includes(key)) && (seconds === 0 || old.length === ours.length);
}

async function silence(context: Context, ...words: string[]): Promise<void> {
  const { print, servers, stage } = context;
  const silencing = silencingOf(stage.name, words);
  const { seconds, matchers } = silencing;
  type Silence = { id: string; status: { state: string }; matchers: Matcher[] };
  const all = await servers.alertmanager<Silence[]>("silences").catch((error: Refusal) => {
    throw new Refusal(...error.lines, "No silence is changed.");
  });
  // First the new one: if that fails, the earlier ones go on.
  const added = seconds > 0 ? await addSilence(context, matchers, seconds, "by on call") : undefined;
  for (const { id, status, matchers: theirs } of all) {
    if (status.state === "expired" || id === added?.silenceID || !isReplaced(theirs, silencing)) continue;
    await servers.alertmanager(`silence/${id}`, { method: "DELETE" });
  }
  const hidden = (
    await servers.alertmanager<{ labels: Record<string, string> }[]>("alerts?active=false&inhibited=false")
  )
    .filter(({ labels }) => matchers.every(({ name, value }) => (labels[name] ?? "") === value))
    .map(({ labels }) => `  ${labels.alertname} ${labels.check ?? labels.reason ?? ""}`);
  if (seconds > 0) {
    const [hides = "  nothing"] = hidden;
    print(`Silenced for ${words[0]}. Of what fires now, this hides:`, hides, ...hidden.slice(1));
  } else if (hidden.length > 0) print("Still silenced, by a silence that was made elsewhere:", ...hidden);
  else print("No alert of this name that fires now is silenced.");
}

/** What `why_silent` has found out. Ages are in seconds. */
export interface Facts {
  onGateway: number | undefined;
  inPrometheus: number | undefined;
  prometheus: boolean;
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
  const said: string[] = [];
  if (!facts.prometheus) {
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

async function whySilent({ print, servers, stage, strong }: Context): Promise<void> {
  const known = <T>(work: Promise<T>) => work.catch(() => undefined);
  const gateway = await servers.isReady("gateway"); // First: it may ask for a password.
  const last = `floor(time() - max(last_over_time(veza_ledger_sample_timestamp_seconds{stage="${stage.name}"}[1d])))`;
  const [page, answer, prometheus, alertmanager, lines, service] = await Promise.all([
    gateway ? known(servers.gateway("/metrics")) : undefined,
    known(servers.query(last)),
    servers.isReady("prometheus"),
    servers.isReady("alertmanager"),
    readLog(stage, "sampler", "3m").catch((error: Error) => new Refusal(error.message)),
    isServiceActive(),
  ]);
  const log =
    lines instanceof Refusal ? lines : lines.filter(({ message }) => !/^(rows counted|delivery)$/.test(message));
  const onGateway = page === undefined ? undefined : ageOfTick(page, stage.name);
  const inPrometheus = answer?.[0] && Number(answer[0].value[1]);
  const [first = "", ...more] = verdictOf({
    onGateway,
    inPrometheus,
    prometheus: Boolean(prometheus && answer),
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
  if (!(log instanceof Refusal)) print(...log.slice(-3).map(({ time, text }) => `${time} ${text}`.slice(0, 300)));
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

async function retire(context: Context, ...words: string[]): Promise<void> {
  const { confirmed, print, servers, stage: own } = context;
  const [stage] = words;
  if (stage === undefined || words.length > 1) {
    throw new Refusal("Nothing is done. Which stage? retire staging, or retire '' if it has no name");
  }
  if (own.gateway) {
    const before = lastPushes(await servers.gateway("/metrics"), stage);
    if (before.length === 0) throw new Refusal(`Nothing is done: the gateway has no stage '${stage}'.`);
    print("This watches the gateway for 2 minutes.");
    await sleep(120_000);
    const after = lastPushes(await servers.gateway("/metrics"), stage);
    if (after.join() !== before.join()) {
      throw new Refusal("Nothing is done: a function still pushes to this stage. Remove it first.");
    }
    print(...after.map((at) => `Pushed last ${Math.floor(Date.now() / 1_000 - at)} s ago.`));
  }
  await confirmed(`if the stage '${stage}' is retired, and not only down`);
  if (own.gateway) {
    for (const job of ["veza_ledger", "veza_reconciler"]) {
      await servers.gateway(`/metrics/job/${job}${stage && `/stage/${encodeURIComponent(stage)}`}`, "DELETE");
    }
  }
  const ofStage = [{ ...equal("alertname", "VezaLedger.+"), isRegex: true }, equal("stage", stage)];
  await addSilence(context, ofStage, 25 * 3600, `the stage ${stage} was retired`);
  print(
    "Its alerts end by themselves, and are silenced for 25 hours. The ticket of orphan refunds can last for 3 days.",
  );
}

export const monitoringCommands: Command[] = [
  {
    name: "ask",
    calls: ["ask payments ID", "ask refunds ID"],
    help: "Asks Hyperswitch, and through it the bank, how a payment or a refund ended. It changes nothing.",
    async run({ line, print, secret, servers }, what, given) {
      if (what !== "payments" && what !== "refunds") {
        throw new Refusal("Nobody was asked: say ask payments, or ask refunds.");
      }
      const id = given ?? (await line("Its id at Hyperswitch"));
      if (!/^[A-Za-z0-9_-]+$/.test(id)) throw new Refusal("Nobody was asked: this is no id.");
      apiKey ||= process.env.HYPERSWITCH_API_KEY ?? (await secret("API key of Hyperswitch, if you have one"));
      if (!apiKey) {
        throw new Refusal("Nobody was asked: you gave no API key. Open the id on Hyperswitch's dashboard.");
      }
      const { status, error_code } = await servers.bank(what, id, apiKey);
      const isFinal = /^(succeeded|failed|cancelled)$/.test(String(status));
      print(error_code && !isFinal ? `unknown: ${error_code}` : String(status ?? "unknown: the answer has no status"));
    },
  },
  {
    name: "why_silent",
    calls: ["why_silent"],
    help: "Which of sampler, gateway, Prometheus and Alertmanager stands still, and whom to call.",
    run: whySilent,
  },
  {
    name: "why_alerts_fail",
    calls: ["why_alerts_fail"],
    help: "Which rules fail, and by which way notifications fail.",
    async run({ print, servers, strong }) {
      type Rules = { data: { groups: { rules: { name: string; health: string; lastError?: string }[] }[] } };
      const { data } = await servers.prometheus<Rules>("/api/v1/rules");
      const failing = data.groups.flatMap(({ rules }) => rules).filter(({ health }) => health === "err");
      print(strong("Rules that fail:"), ...failing.map(({ name, lastError }) => `  ${name}: ${lastError}`));
      for (const [title, expression] of [
        [
          "Notifications that failed in the last hour, by integration:",
          "alertmanager_notification_requests_failed_total",
        ],
        [
          "Alerts that Prometheus could not send in the last hour, by Alertmanager:",
          "prometheus_notifications_errors_total",
        ],
      ]) {
        const samples = await servers.query(`increase(${expression}[1h]) > 0`);
        print(strong(title ?? ""), ...linesOf(samples));
      }
      if ((await servers.isReady("alertmanager")) === false) print("ALERTMANAGER DOES NOT ANSWER.");
    },
  },
  {
    name: "samplers",
    calls: ["samplers"],
    help: "Who has counted for this stage in the last 20 minutes.",
    async run({ print, servers, stage, strong }) {
      const names = "veza_ledger_(sampler_info|other_sampler_timestamp_seconds)";
      const samples = await servers.query(`last_over_time({__name__=~"${names}", stage="${stage.name}"}[20m])`);
      const all = new Set(samples.map(({ metric: { database, region = "" } }) => `the database ${database} ${region}`));
      const [one] = all;
      if (!one) print("No sampler has counted in the last 20 minutes.");
      else if (all.size === 1) print(`One sampler alone: ${one}`);
      else
        print(
          strong(`${all.size} SAMPLERS of one stage, which overwrite each other:`),
          ...[...all].map((each) => `  ${each}`),
        );
    },
  },
  {
    name: "firing",
    calls: ["firing"],
    help: "The alerts of this stage that fire now.",
    async run({ print, servers, stage }) {
      const alerts = await servers.query(
        `ALERTS{alertname=~"VezaLedger.+", alertstate="firing", stage=~"|${stage.name}"}`,
      );
      const lines = alerts
        .filter(({ metric }) => metric.severity !== "none")
        .map(({ metric: { severity, alertname, check, phase, table, state, reason } }) => {
          const parts = [check, phase, table, state, reason].filter((text) => text !== undefined);
          return `${severity}  ${alertname}  ${parts.join(", ")}`;
        });
      print(...(lines.length > 0 ? lines.sort() : ["No alert fires."]));
    },
  },
  {
    name: "silence",
    calls: ["silence SPAN ALERT [check=CHECK] [reason=REASON]"],
    help: "Mutes one alert of this stage, for such as 8h or 2d. 0h ends it.",
    run: silence,
  },
  {
    name: "query",
    calls: ["query EXPRESSION"],
    help: "Asks Prometheus.",
    async run({ print, servers }, ...words) {
      const lines = linesOf(await servers.query(words.join(" ")));
      print(...(lines.length > 0 ? lines : ["Prometheus answers, and has nothing of this now."]));
    },
  },
  {
    name: "gateway",
    calls: ["gateway PATH"],
    help: "Asks the Pushgateway, for such as /metrics.",
    async run({ print, servers }, path = "/-/ready") {
      print((await servers.gateway(path)).trimEnd());
    },
  },
  {
    name: "retire",
    calls: ["retire STAGE"],
    help: "Ends the alerts of a stage whose functions are removed.",
    run: retire,
  },
];
let apiKey = "";

const linesOf = (samples: { metric: object; value: [number, string] }[]) =>
  samples.map(({ metric, value }) => `${value[1]}  ${JSON.stringify(metric)}`);
