import path from "node:path";
import { expect, it } from "vitest";
import { linked } from "../../setup/links.ts";

it("fills in both addresses, without a slash at their end", () => {
  const config = path.join(import.meta.dirname, "../../config");
  const { rules, dashboard } = linked(config, { repository: "https://git/$&/main/", grafana: "https://grafana" });
  expect(rules + dashboard).not.toContain(".example");
  expect(rules).toContain("https://git/$&/main/docs/runbook/");
  expect(rules).toContain("https://grafana/d/");
  expect(() => JSON.parse(dashboard)).not.toThrow();
});
