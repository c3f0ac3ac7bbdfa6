// The text that both functions push, by promtool, and what a series is known by.

import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { sampleFamilies } from "../../lib/counts/sample.ts";
import { expose, keyOf, series } from "../../lib/gateway/exposition.ts";
import { reconcilerFamilies } from "../../lib/totals/events.ts";
import { exposeTotals } from "../../lib/totals/totals.ts";
import { findProgram } from "../helpers/find-program.ts";

it("promtool finds nothing wrong with what both functions push", async () => {
  const { file } = await findProgram("promtool");
  const all = sampleFamilies.map(({ name }) => ({ name, labels: { check: "stuck_orders" }, value: 1 }));
  const texts = [await expose(sampleFamilies, all), await exposeTotals([])];
  for (const { name, type } of [...sampleFamilies, ...reconcilerFamilies]) {
    expect(texts.join("\n")).toContain(`# TYPE ${name} ${type}\n`);
  }
  for (const input of texts) {
    const { status, stdout, stderr } = spawnSync(file, ["check", "metrics"], { input, encoding: "utf8" });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "", stderr: "" });
  }
});

it("knows a series by its labels in whatever order they come, as jsonb and a gateway may change it", () => {
  const [a, b] = [series("x_total", { a: "1", b: "2" }, 1), series("x_total", { b: "2", a: "1" }, 3)];
  expect(keyOf(a)).toBe(keyOf(b));
  expect(keyOf(series("x_total", { a: "2", b: "1" }, 1))).not.toBe(keyOf(a));
});
