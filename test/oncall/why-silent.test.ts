import { describe, expect, it } from "vitest";
import { linesIn } from "../../commands/oncall/log.ts";
import { Refusal } from "../../commands/oncall/terminal.ts";
import { type Facts, verdictOf } from "../../commands/oncall/why-silent.ts";

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
  const nothing = {
    prometheus: false,
    alertmanager: false,
    gateway: false,
    onGateway: undefined,
    inPrometheus: undefined,
  };
  it.each<[says: string | RegExp, change: Partial<Facts>]>([
    ["TICKS ARRIVE", {}],
    ["TICKS ARRIVE", { alertmanager: undefined }],
    [/TICKS ARRIVE.*BUT A COUNT IS -1/, { log: unknown ? [unknown] : [] }],
    // Whoever has no password of the gateway hears nothing false of it.
    ["TICKS ARRIVE", { gateway: undefined, onGateway: undefined }],
    [/^PROMETHEUS DOES NOT ANSWER.* TICKS|^PROMETHEUS DOES NOT ANSWER/, { prometheus: false, inPrometheus: undefined }],
    [/^TICKS ARRIVE AT THE GATEWAY. Whether/, { prometheus: undefined, inPrometheus: undefined }],
    [/^ALERTMANAGER DOES NOT ANSWER.*TICKS ARRIVE/, { alertmanager: false }],
    [
      /^NONE OF THE SERVERS ANSWERS YOU. Is your VPN down\?(?!.*DOES NOT ANSWER)/,
      { ...nothing, service: undefined, log: new Refusal("log in there") },
    ],
    [/^NONE OF THE SERVERS ANSWERS YOU/, { ...nothing, gateway: undefined, service: undefined }],
    // On the service's own host, no network lies between.
    [/^PROMETHEUS DOES NOT ANSWER.*ALERTMANAGER DOES NOT/, nothing],
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
