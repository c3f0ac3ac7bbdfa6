import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { checks, ledgerRegistry } from "../lib/checks.ts";
import { reconcilerRegistry } from "../lib/events.ts";
import { findProgram } from "../local/find-program.ts";
import { exportedMetrics } from "./helpers/metrics.ts";

it("promtool finds nothing wrong with what both functions push", async () => {
  const { file } = await findProgram("promtool");
  const outcomes = checks.map((check, index) => ({ check, count: index, oldestSeconds: index }));
  const texts = [await ledgerRegistry(outcomes, 1_769_860_800, 0.1).metrics(), await reconcilerRegistry([]).metrics()];
  for (const name of exportedMetrics) expect(texts.join("\n")).toContain(`# TYPE ${name} `);
  for (const input of texts) {
    const { status, stdout, stderr } = spawnSync(file, ["check", "metrics"], { input, encoding: "utf8" });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "", stderr: "" });
  }
});
