// The numbers of lib/limits.ts that documents say, and what they add up to.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { checks } from "../../lib/counts/checks.ts";
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
  const longest = Math.floor(limits.sampleTimeoutMs / checks.length / 100) * 100;
  const advice = `lib/limits.ts: ${checks.length} counts share ${limits.sampleTimeoutMs} ms: set readTimeoutMs to ${longest}`;
  expect(limits.readTimeoutMs, advice).toBeLessThanOrEqual(longest);
});

it("lib/limits.ts begins with what a tick and a delivery add up to", async () => {
  const comment = (await readFile("lib/limits.ts", "utf8")).replaceAll("\n//", "");
  const of = (...ms: number[]) => ms.map((each) => each / 1_000);
  const [toSettle, sample, other, push, publish, ids] = of(
    settings,
    limits.sampleTimeoutMs,
    limits.otherSamplerTimeoutMs,
    limits.pushTimeoutMs,
    limits.publishTimeoutMs,
    limits.rowsTimeoutMs,
  );
  const [record, spare, spareOfOther] = of(limits.recordTimeoutMs, spareOfTick, spareOfDelivery);
  expect(comment).toContain(
    `${toSettle} for settings, ${sample} to sample, ${other} to look for another sampler, twice ${push} to push, ${publish} to publish, ${ids} for ids, ${spare} spare.`,
  );
  expect(comment).toContain(
    `${toSettle} for settings, ${record} to record, ${publish} to publish, ${spareOfOther} spare.`,
  );
});

const { readTimeoutMs, readLockTimeoutMs, comparePushTimeoutMs, idsKeptDays } = limits;
const kiB = `${limits.maxBodyBytes / 1_024} KiB`;
const events = limits.maxEvents.toLocaleString("en");
const said: Partial<Record<keyof typeof limits, [file: string, text: string][]>> = {
  secretsTimeoutMs: [
    ["docs/promises.md", `| settings: read from Secrets Manager, at most twice | ${s(settings)} | ${s(settings)} |`],
    ["docs/promises.md", `| **all** | **${s(tick)}** | **${s(delivery)}** |`],
    ["docs/promises.md", `| to spare | ${s(spareOfTick)} | ${s(spareOfDelivery)} |`],
    ["docs/deploy.md", `no answer within ${limits.secretsTimeoutMs} ms`],
  ],
  sampleTimeoutMs: [["docs/promises.md", `| ${s(limits.sampleTimeoutMs)} | ${s(limits.recordTimeoutMs)} |`]],
  otherSamplerTimeoutMs: [["docs/promises.md", `| look for another sampler | ${s(limits.otherSamplerTimeoutMs)} | |`]],
  pushTimeoutMs: [["docs/promises.md", `| push the gauges, at most twice | ${s(2 * limits.pushTimeoutMs)} |`]],
  publishTimeoutMs: [
    ["docs/promises.md", `| publish the totals | ${s(limits.publishTimeoutMs)} | ${s(limits.publishTimeoutMs)} |`],
  ],
  rowsTimeoutMs: [["docs/promises.md", `| log the ids of counted rows | ${s(limits.rowsTimeoutMs)} |`]],
  readTimeoutMs: [
    ["docs/promises.md", `A single count takes at most ${s(readTimeoutMs)},`],
    ["docs/runbook/reasons.md", `the count takes over ${s(readTimeoutMs)}.`],
    ["docs/amounts.md", `the function takes over ${s(readTimeoutMs)}.`],
    ["docs/settings.md", `A statement may take ${s(readTimeoutMs)}, or ${s(limits.writeTimeoutMs)} where it writes.`],
  ],
  readLockTimeoutMs: [
    ["docs/promises.md", `waits at most ${s(readLockTimeoutMs)} for a lock.`],
    ["docs/runbook/reasons.md", `the sampler waits for ${s(readLockTimeoutMs)} only.`],
  ],
  comparePushTimeoutMs: [
    [
      "docs/promises.md",
      `reading what the gateway shows and pushing take at most ${s(comparePushTimeoutMs)} together.`,
    ],
    ["docs/lost-and-wrong-events.md", `or takes over ${s(comparePushTimeoutMs)} |`],
  ],
  secretsFreshMs: [
    ["docs/settings.md", `what it has read of the secrets for ${min(limits.secretsFreshMs)},`],
    [
      "docs/settings.md",
      `it keeps them for ${s(limits.secretsRetryMs)} only: for ${s(2 * limits.secretsRetryMs)}, if there are two`,
    ],
  ],
  toleranceSeconds: [
    ["docs/events.md", `by at most ${limits.toleranceSeconds} s.`],
    ["docs/events.md", `a clock more than ${limits.toleranceSeconds} s off`],
    ["docs/runbook/reasons.md", `clock is wrong** by over ${min(1_000 * limits.toleranceSeconds)}`],
  ],
  maxClockDifferenceSeconds: [
    ["docs/what-counts.md", `over ${limits.maxClockDifferenceSeconds} s apart`],
    ["docs/runbook/reasons.md", `they differ by over ${limits.maxClockDifferenceSeconds} s.`],
    ["docs/runbook/reasons.md", `clock and the sampler's differ** by over ${limits.maxClockDifferenceSeconds} s:`],
  ],
  maxBodyBytes: [
    ["docs/events.md", `up to ${events} events and ${kiB}.`],
    ["docs/events.md", `over ${kiB} or ${events} events;`],
    ["docs/events.md", `{"error":"over ${limits.maxEvents} events",`],
  ],
  maxIdLength: [["docs/events.md", `made of 1 to ${limits.maxIdLength} printable ASCII characters`]],
  idsKeptDays: [
    ["docs/events.md", `is not counted again for ${idsKeptDays} days.`],
    ["docs/other-languages.md", `what was sent over ${idsKeptDays} days ago.`],
    ["docs/promises.md", `whatever is sent again within ${idsKeptDays} days,`],
    ["docs/promises.md", `if it is sent again over ${idsKeptDays} days after`],
    ["docs/settings.md", `each delivery of the last ${idsKeptDays} days,`],
    ["clients/go/ledgermetrics/purge.go", `interval '${idsKeptDays} days'`],
    ["clients/go/ledgermetrics/send.go", `first_sent_at < now() - interval '${idsKeptDays - 1} days'`],
    ["clients/go/ledgermetrics/resend.go", `first_sent_at > now() - interval '${idsKeptDays - 1} days'`],
  ],
};
it.each(Object.entries(said))("%s is as the documents and the Go client say", (_, places) => expectIn(places));
