import { describe, expect, it } from "vitest";
import { done, failed, nowhere, stageWith } from "../helpers/on-call.ts";
import { newHost } from "../helpers/on-call-host.ts";
import { httpServer } from "../helpers/servers.ts";

const withoutAddresses = { PROMETHEUS_URL: "", ALERTMANAGER_URL: "", PUSHGATEWAY_URL: "", HYPERSWITCH_URL: "" };

describe("a server that is away", () => {
  it.each([
    ["query up", /Prometheus does not answer.*call the platform engineer/s],
    ["firing", /Prometheus does not answer.*call the platform engineer/s],
    ["samplers", /Prometheus does not answer.*call the platform engineer/s],
    ["gateway", /The gateway does not answer.*call the platform engineer/s],
    ["silence 8h VezaLedgerStuckRefunds", /Alertmanager does not answer.*No silence is changed/s],
    ["rows stuck_orders", /Postgres is away, or does not let you in/],
    ["all_rows", /Postgres is away, or does not let you in/],
    ["sql", /Postgres is away, or does not let you in/],
  ])("is named by %s, with what to do", async (command, says) => {
    expect(await failed(stageWith({}), command)).toMatch(says);
  });

  it("is named by why_silent, the worst first", async () => {
    const host = await newHost();
    await host.set([{ message: "tick" }]);
    const urls = { PROMETHEUS_URL: nowhere, ALERTMANAGER_URL: nowhere, PUSHGATEWAY_URL: nowhere };
    expect(await done(stageWith(urls), "why_silent", host)).toMatch(
      /^PROMETHEUS DOES NOT ANSWER.*\nALERTMANAGER DOES NOT ANSWER.*\nTHE GATEWAY DOES NOT ANSWER.*\n/,
    );
    expect(await done(stageWith(withoutAddresses), "why_silent", host)).not.toContain("DOES NOT ANSWER");
  });

  it.each([
    ["firing", "Prometheus"],
    ["silences", "Alertmanager"],
    ["ask payments id_1", "Hyperswitch"],
  ])("is no fault of the program where %s has no address", async (command, server) => {
    expect(await failed(stageWith(withoutAddresses), command)).toMatch(`This file has no address of ${server}.`);
  });
});

describe("the gateway", () => {
  it.each([
    ["password", "somebody:old@", {}, `Basic ${Buffer.from("somebody:p'a$s").toString("base64")}`],
    ["token", "", { PUSHGATEWAY_TOKEN: "old" }, "Bearer p'a$s"],
  ])("is asked with the %s that is typed, and with nothing where it is not", async (_, user, more, header) => {
    const seen: unknown[] = [];
    const url = await httpServer(({ headers }, response) => {
      seen.push(headers.authorization);
      response.end("OK\n");
    });
    const stage = stageWith({ PUSHGATEWAY_URL: url.replace("//", `//${user}`), ...more });
    expect(JSON.stringify(stage)).not.toContain("old");
    expect(await done(stage, "gateway", { secrets: ["oncall", "key", "p'a$s"] })).toBe("OK\n");
    expect(await failed(stage, "gateway", { secrets: ["oncall", "key", ""] })).toContain(
      "was not asked, and may be up",
    );
    expect(seen).toEqual([header]);
  });

  it.each(["gateway /metrics", "gateway metrics"])("is asked for a path by %s", async (command) => {
    const url = await httpServer((request, response) => response.end(`asked for ${request.url}\n`));
    expect(await done(stageWith({ PUSHGATEWAY_URL: url }), command)).toBe("asked for /metrics\n");
  });

  it("is not asked where it is VictoriaMetrics, which has no groups", async () => {
    const stage = stageWith({ PUSHGATEWAY_URL: `${nowhere}/api/v1/import/prometheus` });
    expect(await failed(stage, "gateway")).toContain("this file has no address of it");
  });
});
