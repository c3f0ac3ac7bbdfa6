// The text that both functions push, by promtool.

import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { reconcilerFamilies } from "../../lib/events.ts";
import { expose } from "../../lib/exposition.ts";
import { sampleFamilies } from "../../lib/sample.ts";
import { exposeTotals } from "../../lib/totals.ts";
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
