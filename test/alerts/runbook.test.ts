// The pages of the runbook: their form, and every line that they show, run as people on call run it. What the commands
// do is in test/commands/oncall.test.ts.
import { globSync } from "node:fs";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { commands } from "../../commands/oncall/commands.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks } from "../../lib/counts/checks.ts";
import { sampleTimestampMetric } from "../../lib/counts/sample.ts";
import { log, writeLogWith } from "../../lib/log.ts";
import { findOnPath } from "../../local/find-on-path.ts";
import { startPrometheus, startPushgateway } from "../../local/programs.ts";
import { startAlertmanager } from "../helpers/alertmanager.ts";
import { createDatabase, databaseForTest, type TestDatabase, urlAs } from "../helpers/database.ts";
import { insertRows } from "../helpers/models.ts";
import { resultOf, setGroup } from "../helpers/monitoring.ts";
import { fileDone, writeOnCall } from "../helpers/on-call-file.ts";
import { blocksOf } from "../helpers/pages.ts";
import { shippedAlerts } from "../helpers/rules.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const program = await Promise.all(
  globSync("commands/oncall/*.ts").map(async (file) => [file, (await readFile(file, "utf8")).split("\n")] as const),
);
const commandNames = commands.map(({ name }) => name);
const isCommand = (line: string) => commandNames.includes(/^\w+(?=\s|$)/.exec(line)?.[0] ?? "");

const byNight = globSync("docs/runbook/*.md");
const files = [...byNight, "docs/people-on-call.md", "docs/lost-and-wrong-events.md"];
/** What the pages show, and the first that does: lines of blocks of shell, and commands with a space in sentences. */
const shown = new Map<string, string>();
for (const page of files) {
  const text = await readFile(page, "utf8");
  const lines = (await blocksOf(page, "sh")).flatMap((block) => block.trim().split("\n"));
  const inline = [...text.replaceAll(/```[\s\S]*?```/g, "").matchAll(/`([^`]+)`/g)].map(([, code = ""]) =>
    code.replaceAll(/\s+/g, " "),
  );
  const commands = inline.filter((code) => isCommand(code) && / /.test(code) && !/ [A-Z]{2}|^rows counted$/.test(code));
  for (const line of [...lines, ...commands]) if (!shown.has(line)) shown.set(line, page);
}

it("answers the same questions for each alert, in this order, and has one command for what is the matter", async () => {
  const severities: Record<string, Set<string>> = {};
  for (const { alert, labels } of await shippedAlerts()) {
    severities[alert] ??= new Set();
    if (labels.severity !== "none") severities[alert].add(labels.severity);
  }
  expect(
    byNight
      .filter((page) => page.includes("VezaLedger"))
      .map((page) => path.parse(page).name)
      .sort(),
  ).toEqual(Object.keys(severities).sort());
  for (const [alert, ofAlert] of Object.entries(severities)) {
    const page = await readFile(`docs/runbook/${alert}.md`, "utf8");
    const [title, means = "", firstStep = ""] = page.split("\n\n");
    expect(title).toBe(`# ${alert}`);
    const named = [...means.matchAll(/\*\*(Page|Ticket)\.\*\*/g)].map(([, name = ""]) => name.toLowerCase());
    expect(new Set(named), alert).toEqual(ofAlert);
    expect(firstStep, alert).toMatch(/^1\. .*\[the commands\]\(README\.md#the-commands\), then/s);
    const [firstBlock = ""] = await blocksOf(`docs/runbook/${alert}.md`, "sh");
    expect(firstBlock, alert).toSatisfy(isCommand);
    const last = page.trim().split("\n\n").at(-1);
    expect(page, alert).toMatch(/\*\*(Call|call)\*\*|, call the|\*\*Call\b/);
    expect(last, alert).toMatch(ofAlert.size > 0 ? /\b(resolves|RESOLVED|ends)\s/ : /It is over when/);
    const words = page.split(/\s+/).length;
    expect(words, `${alert}: a page of the night is short`).toBeLessThan(350);
  }
});

it("shows commands, and no program: nothing that is pasted in parts, and nothing to fill in but names in capitals", () => {
  const isProgram = /\b(?:if|then|for|while|until|do|case|function)\b |<<|\(\) *\{|\\$|\|\||&&|[;{}]|\$\(|\bcurl\b/;
  const programs = [...shown.keys()].filter((line) => isProgram.test(line.replaceAll(/'[^']*'/g, "''")));
  expect(programs).toEqual([]);
  expect(shown.size).toBeGreaterThan(30);
});

/** Blocks of code and code in sentences, with each command on one line. */
const codeIn = (page: string): string[] =>
  [...page.matchAll(/^( *)```\w*\n([\s\S]*?)^\1```|`([^`\n]+)`/gm)].map(([, , block, inline = ""]) =>
    (block ?? inline).replaceAll(/\\\n\s*/g, ""),
  );
const sqlThatWrites =
  /(?<!\b(?:do|for|apt-get) )\b(?:insert into|update|delete from|merge into|truncate|alter table|drop table) \S+/gi;
const endsSession = /pg_(?:terminate|cancel)_backend/g;
const requestThatWrites =
  /.*\bcurl\b(?! -\w*G )[^|&)]* -(?:\w*[XdFT]|-(?:request|data|json)).*|\b(?:POST|PUT|PATCH|DELETE) \/.*/g;
/** The service's own tables, its groups on the gateway, silences, and its own receiver. */
const own = [
  / (ledger_metrics\.\w+|ledger_outbox\.deliveries)$/,
  /"\$PUSHGATEWAY_URL\/metrics\/job\//,
  /"\$(drill|url|RECEIVER_URL|GATEWAY_FILE)"/,
  /^ *curl -sSf -g -m 10 "\$ALERTMANAGER_URL/,
];

it("writes nothing of a payment: commands, and those of all pages, change the service's own tables and groups alone", async () => {
  const pages = await Promise.all(
    globSync("docs/**/*.md").map(async (file) => [file, codeIn(await readFile(file, "utf8"))] as const),
  );
  const found = [...pages, ...program].flatMap(([file, code]) =>
    code
      .flatMap((text) =>
        [sqlThatWrites, endsSession, requestThatWrites].flatMap((pattern) => text.match(pattern) ?? []),
      )
      .map((write) => `${file}: ${write.trim()}`),
  );
  expect(found.length).toBeGreaterThan(5);
  expect(found.filter((write) => !own.some((address) => address.test(write.replace(/^\S+: /, ""))))).toEqual([]);
  // What is asked of Hyperswitch and Prometheus is read: only these two can be given a method.
  const servers = program.find(([file]) => file.endsWith("servers.ts"))?.[1].join("\n") ?? "";
  expect([...servers.matchAll(/async (\w+)\(.*(?:options|method)/g)].map(([, name]) => name)).toEqual([
    "alertmanager",
    "gateway",
  ]);
});

describe("where nothing is but the file, and a host's log", () => {
  let database: TestDatabase;
  let file: string;
  /** The programs that people on call have. */
  let tools: string;
  /** Gives the gateway what both functions push, of two stages. */
  let pushAll: () => Promise<void>;
  const running: { stop(): Promise<unknown> | undefined }[] = [];

  beforeAll(async () => {
    const folder = await newFolder();
    tools = path.join(folder, "bin");
    await mkdir(tools);
    for (const tool of ["bash", "cat"]) await symlink((await findOnPath([tool])) ?? "", path.join(tools, tool));
    await writeFile(path.join(folder, "log"), logLines());
    await writeFile(path.join(tools, "journalctl"), `#!/bin/bash\ncat "\${0%/*}/../log"\n`, { mode: 0o755 });
    await writeFile(path.join(tools, "systemctl"), "#!/bin/bash\n", { mode: 0o755 });
    database = await createDatabase();
    await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql"]);
    const bank = http.createServer((_, response) => void response.end('{"status":"succeeded"}')).listen(0, "127.0.0.1");
    running.push({ stop: async () => void bank.close() });
    const [gateway, alertmanager] = await Promise.all([
      startPushgateway(0),
      startAlertmanager(0, "{ route: { receiver: nobody }, receivers: [{ name: nobody }] }"),
    ]);
    running.push(gateway, alertmanager);
    const groups = ["veza_ledger", "veza_reconciler"].flatMap((job) =>
      ["prod", "staging"].map((stage) => [job, stage]),
    );
    pushAll = async () => {
      for (const [job = "", stage = ""] of groups) {
        await setGroup(gateway.url, job, stage, [`${sampleTimestampMetric} 1`]);
      }
    };
    await pushAll();
    const urls = { pushgatewayUrl: gateway.url, alertmanagerUrl: alertmanager.url };
    const prometheus = await startPrometheus(0, { ...urls, rules: "groups: []", interval: "1s" });
    running.push(prometheus);
    await vi.waitFor(async () => expect(await resultOf(prometheus.url, sampleTimestampMetric)).not.toEqual([]), 60_000);
    file = path.join(folder, "oncall-prod.mjs");
    await writeOnCall(file, {
      PROMETHEUS_URL: prometheus.url,
      ALERTMANAGER_URL: alertmanager.url,
      PUSHGATEWAY_URL: gateway.url,
      HYPERSWITCH_URL: `http://127.0.0.1:${(bank.address() as AddressInfo).port}`,
      DATABASE_URL: urlAs("veza_ledger_oncall", database.adminUrl),
    });
    for (const check of checks) await database.admin.unsafe(insertRows(check, 1));
  });
  afterAll(async () => {
    for (const part of running.reverse()) await part.stop();
    await database?.remove();
  });

  /** What a person types, after the secrets. `both` is the password of the login that counts. */
  async function answersTo(line: string): Promise<string[]> {
    const [command = "", check = "", ...span] = line.split(" ");
    if (command === "accept_backlog") await database.admin`truncate ledger_metrics.accepted`;
    if (command === "accept") {
      const rows = span[0] === "0" ? `accepted where "check" = '${check}'` : `${check}()`;
      const [row] = await database.admin.unsafe(`select id from ledger_metrics.${rows} limit 1`);
      return [`${row?.id}`, "", "a test"];
    }
    const answers: Record<string, string[]> = {
      accept_backlog: ["1 second", "a test"],
      ask: ["pay_1"],
      drop_group: ["yes", "both"],
      resend: ["postgres", new URL(database.adminUrl).password],
      retire: ["yes"],
      retire_phase: ["both"],
      takeback: ["yes", "both"],
    };
    return answers[command] ?? [];
  }

  it.each([...shown])("run %s", async (line, page) => {
    if (page.includes("lost-and-wrong")) {
      await pushAll();
      await database.admin.unsafe(`truncate ledger_metrics.deliveries, ledger_metrics.totals;
        insert into ledger_metrics.deliveries (id, digest, words) values ('ID', '', '1 action stuck_orders');
        insert into ledger_metrics.totals (name, labels, value)
        values ('veza_reconciler_actions_total', '{"phase": "stuck_orders"}', 1),
          ('veza_reconciler_phase_last_run_timestamp_seconds', '{"phase": "stuck_orders"}', 1)`);
    }
    const command = line.replace(/^node oncall-prod.mjs$/, "help");
    await fileDone(file, command, { answers: await answersTo(line), programs: tools });
  });
});

it("lets people on call change nothing by psql, and ends what takes long", async () => {
  const database = await databaseForTest();
  const session = postgres(urlAs("veza_ledger_oncall:oncall", database.adminUrl), {
    max: 1,
    onnotice: () => {},
  });
  for (const [statement = "", message] of [
    ["update public.orders set status = 'paid'", "cannot execute UPDATE in a read-only transaction"],
    ["begin read write; update public.orders set status = 'paid'", "permission denied for table orders"],
    ["begin read write; delete from ledger_metrics.deliveries", "permission denied for table deliveries"],
    ["select pg_sleep(20)", "canceling statement due to statement timeout"],
  ]) {
    await expect(session.unsafe(statement)).rejects.toThrow(message);
    await session.unsafe("rollback");
  }
  await session.end();
});

/** Lines of the functions' log, one for each message that a page looks for. A message that is gone has no type. */
function logLines(): string {
  const lines: string[] = [];
  const earlier = writeLogWith(
    (level, message, fields) =>
      void lines.push(
        `2026-01-31T12:00:00+0000 veza-ledger-metrics[1]: ${JSON.stringify({ level, message, ...fields })}`,
      ),
  );
  const failure = { code: "42703", reason: 'column "status" does not exist' };
  log("info", "tick", { duration_seconds: 0.1, stuck_orders: 1 });
  log("error", "check failed", { check: "stuck_orders", ...failure });
  log("info", "rows counted", { check: "stuck_orders", ids: ["1"] });
  log("warn", "evidence not read", { of: "rows", ...failure });
  log("warn", "counters held", { by: { veza_reconciler_orphan_refunds_total: 1 } });
  log("warn", "totals not published", { reason: "the gateway answered 400" });
  log("error", "delivery not confirmed", { id: "ID", ...failure });
  writeLogWith(earlier);
  return `${lines.join("\n")}\n`;
}
