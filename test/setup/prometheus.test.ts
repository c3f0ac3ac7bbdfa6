// What ./setup says is left to do with Prometheus, on real ones.
import { readFile } from "node:fs/promises";
import { expect, inject, it, onTestFinished } from "vitest";
import { startPrometheus } from "../../local/programs.ts";
import { leftOfPrometheus } from "../../setup/host/prometheus.ts";
import { wipe } from "../helpers/gateway.ts";
import { setGroup } from "../helpers/monitoring.ts";
import { httpServer } from "../helpers/servers.ts";

const stage = "left_of_prometheus";
const asked = { gateway: "http://gateway:9091", stage, rules: "/etc/rules.yml", repository: "https://git/main" };
const page = "https://git/main/docs/servers-in-use.md#prometheus";

it("is nothing once it has rules and fresh numbers, and each of the two before", async () => {
  const pushgatewayUrl = inject("pushgatewayUrl");
  const ticked = (ageSeconds: number) =>
    setGroup(pushgatewayUrl, "veza_ledger", stage, [
      "# TYPE veza_ledger_sample_timestamp_seconds gauge", // As every sampler's: of two types, the gateway refuses the second.
      `veza_ledger_sample_timestamp_seconds ${Date.now() / 1000 - ageSeconds}`,
    ]);
  onTestFinished(() => wipe(stage));
  const start = async (rules: string) => {
    const prometheus = await startPrometheus(0, { pushgatewayUrl, rules, interval: "500ms" });
    onTestFinished(() => prometheus.stop());
    return prometheus.url;
  };
  const [bare, loaded] = await Promise.all([
    start("groups: []"),
    readFile("config/alertmanager/ledger.yml", "utf8").then(start),
  ]);
  // What a gateway that was left behind goes on to show.
  await ticked(600);
  const scrape = `it has no number of the last minutes from there. ${page}`;
  expect(await leftOfPrometheus({ ...asked, prometheus: bare }, 0)).toEqual([
    `Let ${bare} load /etc/rules.yml: ${page}`,
    `Let ${bare} scrape http://gateway:9091: ${scrape}`,
  ]);
  expect(await leftOfPrometheus({ ...asked, prometheus: loaded }, 0)).toEqual([expect.stringContaining(scrape)]);
  // Waits for the next scrape.
  await ticked(0);
  expect(await leftOfPrometheus({ ...asked, prometheus: loaded }, 60_000)).toEqual([]);
});

it.each([
  ["asks for a login", 401, "", "it answers 401"],
  ["leads to a page of a login", 302, "", "it answers 302"],
  ["answers with a page", 200, "<html>", "its answer is not Prometheus'"],
  ["answers null", 200, "null", "its answer is not Prometheus'"],
])("is to look there where it %s", async (_, status, body, why) => {
  const prometheus = await httpServer((_, response) => response.writeHead(status, { location: "/" }).end(body));
  expect(await leftOfPrometheus({ ...asked, prometheus }, 0)).toEqual([
    `See that ${prometheus} has the rules and the scrape job. It was not asked: ${why}. ${page}`,
  ]);
});
