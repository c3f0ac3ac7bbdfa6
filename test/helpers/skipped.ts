import type { Reporter, TestModule } from "vitest/node";
import "./needs.ts";

/** Says last, below the run's summary, how many tests were skipped for which reason. */
export class Skipped implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const reasons = new Map<string, number>();
    for (const { children } of modules) {
      for (const test of children.allTests("skipped")) {
        const result = test.result();
        const reason = test.meta().skippedBecause ?? (result.state === "skipped" ? result.note : undefined);
        if (reason) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      }
    }
    for (const [reason, count] of reasons)
      console.log(`Skipped: ${count} ${count === 1 ? "test" : "tests"}, ${reason}`);
  }
}
