// The numbers of lib/limits.ts, each in the one page that says it, and what they add up to.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { checks } from "../../lib/counts/checks.ts";
import { countTimeoutMs } from "../../lib/counts/counting.ts";
import * as limits from "../../lib/limits.ts";
import { expectIn } from "../helpers/pages.ts";

const s = (ms: number) => `${ms / 1_000} s`;
const min = (ms: number) => `${ms / 60_000} minutes`;
const settings = 2 * limits.secretsTimeoutMs;
const [tick = 0, delivery = 0] = [...(await readFile("serverless.yml", "utf8")).matchAll(/^ {4}timeout: (\d+)$/gm)].map(
  ([, seconds]) => 1_000 * Number(seconds),
);
const spareOfTick =
  tick -
  settings -
  limits.sampleTimeoutMs -
  limits.otherSamplerTimeoutMs -
  2 * limits.pushTimeoutMs -
  limits.publishTimeoutMs -
  limits.rowsTimeoutMs;
const spareOfDelivery = delivery - settings - limits.recordTimeoutMs - limits.publishTimeoutMs;

it("a tick and a delivery have time for all of their parts", () => {
  expect([tick, delivery]).toEqual([25_000, 15_000]);
  expect(spareOfTick, `lib/limits.ts: a tick needs ${s(tick - spareOfTick)} of ${s(tick)}`).toBeGreaterThanOrEqual(500);
  const advice = `lib/limits.ts: a delivery needs ${s(delivery - spareOfDelivery)} of ${s(delivery)}`;
  expect(spareOfDelivery, advice).toBeGreaterThan(1_000);
});

it("all counts fit into one sample, one after the other", () => {
  expect(countTimeoutMs * checks.length).toBeLessThanOrEqual(limits.sampleTimeoutMs);
});

const { idsKeptDays } = limits;
const kiB = `${limits.maxBodyBytes / 1_024} KiB`;
const events = limits.maxEvents.toLocaleString("en");
const page = "docs/reference.md";
const said: Partial<Record<keyof typeof limits, [file: string, text: string][]>> = {
  secretsTimeoutMs: [
    [page, `| settings: read from Secrets Manager, at most twice | ${s(settings)} | ${s(settings)} |`],
    [page, `| **all** | **${s(tick)}** | **${s(delivery)}** |`],
    [page, `| to spare | ${s(spareOfTick)} | ${s(spareOfDelivery)} |`],
  ],
  sampleTimeoutMs: [[page, `| ${s(limits.sampleTimeoutMs)} | ${s(limits.recordTimeoutMs)} |`]],
  otherSamplerTimeoutMs: [[page, `| look for another sampler | ${s(limits.otherSamplerTimeoutMs)} | |`]],
  pushTimeoutMs: [[page, `| push the gauges, at most twice | ${s(2 * limits.pushTimeoutMs)} |`]],
  publishTimeoutMs: [[page, `| publish the totals | ${s(limits.publishTimeoutMs)} | ${s(limits.publishTimeoutMs)} |`]],
  rowsTimeoutMs: [[page, `| log the ids of counted rows | ${s(limits.rowsTimeoutMs)} |`]],
  readTimeoutMs: [[page, `A statement that reads takes at most ${s(limits.readTimeoutMs)},`]],
  readLockTimeoutMs: [[page, `waits at most ${s(limits.readLockTimeoutMs)} for a lock.`]],
  writeTimeoutMs: [[page, `A statement that writes takes at most ${s(limits.writeTimeoutMs)}.`]],
  comparePushTimeoutMs: [
    [page, `reading what the gateway shows and pushing take at most ${s(limits.comparePushTimeoutMs)} together.`],
  ],
  secretsFreshMs: [[page, `is kept for ${min(limits.secretsFreshMs)}, and for ${s(limits.secretsRetryMs)} after`]],
  maxClockDifferenceSeconds: [[page, `over ${limits.maxClockDifferenceSeconds} s apart`]],
  toleranceSeconds: [
    ["docs/events.md", `by at most ${limits.toleranceSeconds} s.`],
    ["docs/events.md", `a clock more than ${limits.toleranceSeconds} s off`],
  ],
  maxBodyBytes: [
    ["docs/events.md", `up to ${events} events and ${kiB}.`],
    ["docs/events.md", `over ${kiB} or ${events} events;`],
    ["docs/events.md", `{"error":"over ${limits.maxEvents} events",`],
  ],
  maxIdLength: [["docs/events.md", `made of 1 to ${limits.maxIdLength} printable ASCII characters`]],
  idsKeptDays: [
    ["docs/events.md", `is not counted again for ${idsKeptDays} days.`],
    ["docs/promises.md", `whatever is sent again within ${idsKeptDays} days,`],
    ["docs/promises.md", `if it is sent again over ${idsKeptDays} days after`],
    ["clients/go/ledgermetrics/purge.go", `interval '${idsKeptDays} days'`],
    ["clients/go/ledgermetrics/send.go", `first_sent_at < now() - interval '${idsKeptDays - 1} days'`],
    ["commands/oncall/corrections.ts", `first_sent_at > now() - interval '${idsKeptDays - 1} days'`],
    ["commands/oncall/corrections.ts", `first_sent_at > now() - interval '${idsKeptDays - 1} days'`],
    ["docs/other-languages.md", `first_sent_at > now() - interval '${idsKeptDays - 1} days'`],
    ["docs/other-languages.md", `first_sent_at <= now() - interval '${idsKeptDays - 1} days'`],
  ],
};
it.each(Object.entries(said))("%s is as its page and the Go client say", (_, places) => expectIn(places));
