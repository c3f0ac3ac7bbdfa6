// What Prometheus, Alertmanager and the gateway say.
import { visibly } from "../quote.ts";
import type { Command } from "./command.ts";
import type { Sample } from "./servers.ts";
import { silencedUntil, silencesNow, whenOf } from "./silence.ts";
import { Refusal } from "./terminal.ts";

export const monitoringCommands: Command[] = [
  {
    name: "firing",
    calls: ["firing"],
    help: "The alerts of this stage that fire now, and until when those are silenced that are.",
    async run({ print, servers, stage }) {
      const alerts = await servers.query(
        `ALERTS{alertname=~"VezaLedger.+", alertstate="firing", stage=~"|${stage.name}"}`,
      );
      const fires = alerts.filter(({ metric }) => metric.severity !== "none");
      if (fires.length === 0) return print("No alert fires.");
      const silences = stage.alertmanager ? await silencesNow(servers).catch((error: Refusal) => error) : [];
      const lines = fires.map(({ metric }) => {
        const { severity, alertname, check, phase, table, state, reason } = metric;
        const parts = [check, phase, table, state, reason].filter((text) => text !== undefined);
        const until = silences instanceof Refusal ? undefined : silencedUntil(metric, silences);
        const silenced = until === undefined ? "" : `  silenced until ${whenOf(until, stage.timeZone)}`;
        return `${severity}  ${alertname}  ${parts.join(", ")}${silenced}`;
      });
      print(...lines.sort());
      if (silences instanceof Refusal) throw new Refusal("Which of them are silenced is unknown.", ...silences.lines);
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
    name: "why_alerts_fail",
    calls: ["why_alerts_fail"],
    help: "Which rules fail, and by which way notifications fail.",
    async run({ print, servers, strong }) {
      type Rules = { data: { groups: { rules: { name: string; health: string; lastError?: string }[] }[] } };
      const { data } = await servers.prometheus<Rules>("/api/v1/rules");
      const failing = data.groups.flatMap(({ rules }) => rules).filter(({ health }) => health === "err");
      const orNone = (lines: string[]) => (lines.length > 0 ? lines : ["  none"]);
      const errors = failing.map(({ name, lastError }) => visibly(`  ${name}: ${lastError}`));
      print(strong("Rules that fail:"), ...orNone(errors));
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
        print(strong(title ?? ""), ...orNone(linesOf(samples)));
      }
      if ((await servers.isReady("alertmanager")) === false) print("ALERTMANAGER DOES NOT ANSWER.");
    },
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
    async run({ printAsIs, servers }, path = "/-/ready") {
      printAsIs(...(await servers.gateway(path.replace(/^\/?/, "/"))).trimEnd().split("\n").map(visibly));
    },
  },
];

const linesOf = (samples: Sample[]) => samples.map(({ metric, value }) => `${value[1]}  ${JSON.stringify(metric)}`);
