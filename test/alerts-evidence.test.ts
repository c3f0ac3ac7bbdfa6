import { execFile } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { dump, load } from "js-yaml";
import { expect, it, onTestFinished } from "vitest";
import { findProgram, type ProgramName } from "../local/find-program.ts";

// The rules about the evidence beside the counts, on both engines.

interface Group {
  name: string;
  rules: { alert?: string; annotations?: { dashboard_url?: string; runbook_url?: string } }[];
}
const isEvidence = ({ name }: Group) => name === "veza-ledger-evidence";

/** A folder with these rules, without their links, and their tests beside them. */
async function testFolder(): Promise<{ folder: string; alerts: string[] }> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-evidence-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const { groups } = load(await readFile("config/alertmanager/ledger.yml", "utf8")) as { groups: Group[] };
  const evidence = groups.filter(isEvidence);
  const rules = evidence.flatMap((group) => group.rules);
  for (const { annotations } of rules) {
    delete annotations?.dashboard_url;
    delete annotations?.runbook_url;
  }
  await writeFile(path.join(folder, "ledger.yml"), dump({ groups: evidence }));
  await copyFile("test/alerts-evidence.yml", path.join(folder, "tests.yml"));
  return { folder, alerts: rules.flatMap(({ alert = [] }) => alert) };
}

it.each<[string, ProgramName, string[]]>([
  ["Prometheus", "promtool", ["test", "rules", "tests.yml"]],
  ["VictoriaMetrics", "vmalert-tool", ["unittest", "--disableAlertgroupLabel", "--files", "tests.yml"]],
])("fire when they should, and say what they should, by the tool of %s", async (_, program, args) => {
  const { folder } = await testFolder();
  const { file } = await findProgram(program);
  // vmalert-tool's storage has one name for everybody.
  const env = { ...process.env, TMPDIR: folder };
  const output = await promisify(execFile)(file, args, { cwd: folder, env }).catch((error) => error);
  expect(`${output.stdout}${output.stderr}`).toContain("SUCCESS");
});

it("have a test each", async () => {
  const { alerts } = await testFolder();
  const tests = await readFile("test/alerts-evidence.yml", "utf8");
  expect(alerts.filter((alert) => !tests.includes(`alertname: ${alert}`))).toEqual([]);
});
