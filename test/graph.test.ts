import { expect, it } from "vitest";
import { checks, ledgerRegistry } from "../lib/checks.ts";
import { countsQuery } from "../local/graph.ts";

it("shows the counts of all checks and nothing else", async () => {
  expect(countsQuery).toBe('{job="veza_ledger", check="", __name__!~".+_seconds"}');
  const outcomes = checks.map((check) => ({ check, count: 1, oldestSeconds: 1 }));
  const metrics = await ledgerRegistry(outcomes, 1, 1).getMetricsAsJSON();
  const matched = metrics.filter(
    ({ name, values }) => !name.endsWith("_seconds") && values.every(({ labels }) => !("check" in labels)),
  );
  expect(metrics.length).toBeGreaterThan(checks.length);
  expect(matched.map(({ name }) => name).sort()).toEqual(checks.map(({ metric }) => metric).sort());
});
