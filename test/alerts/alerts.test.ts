// When alerts fire, and what they say, by both engines' tools; and what the rules, the route and the links share.
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { checks, nearlyStuckAfter } from "../../lib/counts/checks.ts";
import { unitTest, unitTestsIn, writeTests } from "../helpers/rule-tests.ts";
import { type AlertRule, isAlert, shippedGroups } from "../helpers/rules.ts";
import { newFolder } from "../helpers/temporary-folder.ts";
import { whyOldVmalert } from "../helpers/vmalert.ts";

const ages = checks.flatMap(({ id, stuckAfter, overdueAfter }) =>
  stuckAfter ? [[id, { overdueAfter, nearlyStuckAfter: nearlyStuckAfter(stuckAfter) }] as const] : [],
);
/** A file of unit tests, with the ages that the texts of alerts name. */
async function read(name: string): Promise<string> {
  let text = await readFile(`test/alerts/${name}.yml`, "utf8");
  for (const [id, of] of ages) {
    for (const [age, words] of Object.entries(of)) text = text.replaceAll(`{${id}.${age}}`, words ?? "");
  }
  return text;
}
const tests = (await Promise.all(["alerts", "alerts-days"].map(read))).flatMap(unitTestsIn);
const groups = await shippedGroups();
const alerts = groups.flatMap(({ rules }) => rules.filter(isAlert));

describe("every alert fires when it should, not a minute earlier, and says what it should", () => {
  const timeout = 900_000; // Seconds each, and longer on a machine that is busy.
  const engines: [engine: string, tool: "promtool" | "vmalert-tool"][] = [
    ["Prometheus", "promtool"],
    ["VictoriaMetrics", "vmalert-tool"],
  ];
  // vmalert-tool takes a minute of CPU time: CI has it.
  const played = engines.filter(([, tool]) => tool === "promtool" || process.env.CI);
  it.concurrent.for(played)("by the tool of %s", { timeout }, async ([, tool], { skip }) => {
    const whyOld = tool === "vmalert-tool" ? await whyOldVmalert() : undefined; // They are in one package.
    skip(whyOld !== undefined, whyOld);
    const folder = await newFolder();
    const files = await writeTests(folder, tests);
    const output = await unitTest(tool, folder, files);
    if (/FAILED/.test(output)) {
      const isSaid = (line: string) => line.trim() && !/^Unit Testing|SUCCESS|Annotations:\{\}/.test(line);
      expect.fail(output.split("\n").filter(isSaid).slice(0, 25).join("\n"));
    }
    expect(output.match(/SUCCESS/g), output).toHaveLength(files.length);
  });

  it("in each of its forms", () => {
    const fired = tests.flatMap(({ alert_rule_test }) =>
      alert_rule_test.flatMap(({ alertname, exp_alerts }) =>
        exp_alerts.map(({ exp_labels }) => ({ alertname, ...exp_labels })),
      ),
    );
    // The other checks have the alert of stuck orders: npm run generate writes both. lost-webhooks.test.ts has lost ones.
    const generated = checks.map(({ id }) => `check="${id}"`).filter((matcher) => !/stuck_orders|orphan/.test(matcher));
    const isGenerated = ({ expr }: AlertRule) =>
      generated.some((matcher) => expr.includes(matcher)) || /:late:.*orders/.test(expr);
    const isFired = ({ alert, labels }: AlertRule) =>
      fired.some((one) => isMatch({ ...one }, { alertname: alert, ...labels }));
    expect(alerts.filter((rule) => !isGenerated(rule) && !isFired(rule))).toEqual([]);
  });
});

/** Whether an object has all of these properties. */
const isMatch = (object: Record<string, unknown>, properties: object) =>
  Object.entries(properties).every(([name, value]) => object[name] === value);

it("no text of an alert has a query, but for what is usual beside late rows", () => {
  const others = alerts.filter(({ labels }) => !("reason" in labels && labels.reason === "repaired late"));
  expect(others.length).toBeGreaterThan(10);
  for (const { annotations } of others) expect(JSON.stringify(annotations)).not.toMatch(/\bquery\b/);
});

it("every alert has links to the dashboard and to its own page of the runbook", () => {
  for (const { alert, annotations } of alerts) {
    expect(annotations.dashboard_url).toMatch(/^https:\/\/[^/]+\/d\/veza-ledger/);
    expect(annotations.runbook_url).toMatch(new RegExp(`^https://.+/docs/runbook/${alert}\\.md$`));
  }
});
