import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Sql } from "postgres";
import { connect } from "../commands/connect.ts";
import { deliver } from "../commands/deliver.ts";
import { demoSecret } from "../commands/demo-secret.ts";
import { receiverPort } from "../commands/receiver-port.ts";
import { checks } from "../lib/checks.ts";
import { deadline } from "../lib/deadline.ts";
import { reconcilerMetric } from "../lib/events.ts";
import { fetchFailure } from "../lib/fetch-failure.ts";
import { groupUrl } from "../lib/pushgateway.ts";
import { isLocalHost, parseDatabaseUrl } from "../lib/settings.ts";
import { demoCluster } from "./demo-ledger.ts";
import type { Stack } from "./page.ts";
import { fold, shortNames } from "./terminal.ts";

// npm run demo: breaks one thing of the demo that `npm start` runs, and waits until it shows.
const demos: Record<string, { what: string; play(stack: Stack, sql: Sql): Promise<void> }> = {
  "break-refunds": { what: "renames a column: two counts are unknown; again: repaired", play: breakRefunds },
  "send-twice": { what: "sends a delivery twice: it counts once", play: sendTwice },
  "wipe-gateway": { what: "empties the Pushgateway: the next tick fills it again", play: wipeGateway },
};
const usage = `usage: npm run demo -- <what>, next to npm start in another terminal

${Object.entries(demos)
  .map(([name, { what }]) => `  ${name.padEnd(14)} ${what}`)
  .join("\n")}

Each says what will happen, where to see it, and what it proves. It breaks only
the demo of npm start. RECEIVER_URL is its address, if that is not port ${receiverPort}.`;

type Counts = Record<string, number>;

const base = process.env.RECEIVER_URL || `http://127.0.0.1:${receiverPort}/`;
const [name, ...more] = process.argv.slice(2);
const chosen = more.length === 0 ? demos[name ?? ""] : undefined;
if (!chosen) {
  const asksForHelp = !name || /^(-h|--help)$/.test(name);
  if (!asksForHelp) console.error(`not understood: ${[name, ...more].join(" ")}\n`);
  console[asksForHelp ? "log" : "error"](usage);
  process.exit(asksForHelp ? 0 : 2);
}
try {
  const stack = await findDemo();
  await chosen.play(stack, await openDemoLedger(stack));
  process.exit();
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}

/** Throws an Error with what to do where no demo runs. */
async function findDemo(): Promise<Stack> {
  if (!isLocalHost(URL.parse(base)?.hostname ?? "")) {
    throw new Error("RECEIVER_URL names a receiver elsewhere. Unset it: this breaks only what npm start runs here.");
  }
  return await readStack();
}

async function readStack(): Promise<Stack> {
  const get = async () => {
    const response = await fetch(new URL("stack.json", base), { signal: AbortSignal.timeout(5_000) });
    if (!response.ok) throw new Error(`another program does, ${response.status}`);
    return (await response.json()) as Stack;
  };
  return get().catch((error) => {
    throw new Error(
      `No demo answers at ${base}: ${fetchFailure(error)}.\n` +
        "Run npm start in another terminal; where it prints another address,\nset RECEIVER_URL to that.",
    );
  });
}

/** Opens the demo's database. Its name proves that it is no other. */
async function openDemoLedger({ postgresPort }: Stack): Promise<Sql> {
  const target = parseDatabaseUrl(`postgres://postgres:postgres@127.0.0.1:${Number(postgresPort)}/postgres`);
  const { sql } = await connect(async () => target, "veza-demo", deadline("Postgres", 5_000));
  const [row] = await sql`select current_setting('cluster_name') as cluster, set_config('lock_timeout', '5s', false)`;
  if (row?.cluster !== demoCluster) throw new Error(`The PostgreSQL at port ${postgresPort} is no demo of npm start.`);
  return sql;
}

function say(happens: string, look: string, proves: string): void {
  console.log(`Happens  ${happens}\nLook     ${look}\nProves   ${proves}`);
}

function seen(text: string): void {
  console.log(fold(["Seen    ", ...text.split(" ")], " ", " ".repeat(9)));
}

/** Resolves to the counts of the next tick that suits. Throws when none did in two ticks and a minute. */
async function tickWith({ everySeconds }: Stack, suits: (counts: Counts) => boolean): Promise<Counts> {
  const startedAt = Date.now();
  const limitSeconds = 2 * everySeconds + 60;
  while (Date.now() < startedAt + limitSeconds * 1000) {
    const { tick } = await readStack();
    if (tick && tick.at > startedAt && suits(tick.counts)) return tick.counts;
    await sleep(200);
  }
  throw new Error(`It was not seen within ${limitSeconds} s.`);
}

function describe(counts: Counts): string {
  const columns = Object.entries(counts).map(([id, count]) => `${shortNames[id]} ${count < 0 ? "?" : count}`);
  return columns.join(", ");
}

/** Whether a tick knows the counts of all checks but these, and no count of these. */
function isUnknown(ids: string[]): (counts: Counts) => boolean {
  return (counts) => checks.every(({ id }) => ids.includes(id) === Number(counts[id]) < 0);
}

async function breakRefunds(stack: Stack, sql: Sql): Promise<void> {
  const column = "hyperswitch_refund_id";
  const [broken] = await sql`select from pg_attribute
    where attrelid = 'refunds'::regclass and attname = ${`${column}_renamed`}`;
  if (broken) {
    say(
      `the column refunds.${column} gets its name back.`,
      "the next tick of npm start, or the page: refunds and orphan.",
      "nothing has to be restarted: what can be counted is counted.",
    );
    await sql.unsafe(`alter table refunds rename ${column}_renamed to ${column}`);
    return seen(describe(await tickWith(stack, isUnknown([]))));
  }
  say(
    `the column refunds.${column} is renamed, as by a migration.`,
    "the next tick of npm start, or the page: refunds ? and orphan ?",
    "a count that fails is unknown, never 0. The others stay right.",
  );
  await sql.unsafe(`alter table refunds rename ${column} to ${column}_renamed`);
  const hidden = checks.filter(({ condition }) => condition?.includes(column)).map(({ id }) => id);
  seen(describe(await tickWith(stack, isUnknown(hidden))));
  console.log("Run it again to repair it.");
}

async function sendTwice(_: Stack, sql: Sql): Promise<void> {
  const id = `demo_${randomUUID().slice(0, 8)}`;
  say(
    "one repaired row is posted twice under one id, as after a time-out.",
    `two lines "delivery" of npm start, or the page: ${id}`,
    "a delivery counts once, however often it comes.",
  );
  const phase = "orphan_refunds"; // The demo's own reconciler seldom repairs one.
  const total = async () => {
    const [row] = await sql`select value::int from ledger_metrics.totals
      where name = ${reconcilerMetric.actions} and labels ->> 'phase' = ${phase}`;
    return row?.value ?? 0;
  };
  const before = await total();
  const body = JSON.stringify({ type: "reconciler.action", timestamp: new Date().toISOString(), data: { phase } });
  const [secret = demoSecret] = process.env.WEBHOOK_SECRET?.split(" ") ?? [];
  const send = async () => {
    const { status, answer } = await deliver(base, secret, id, body);
    if (status !== 200) throw new Error(`The receiver answered ${status}: ${answer}`);
    return JSON.parse(answer).status;
  };
  seen(`${await send()}, then ${await send()}; repaired ${phase}: ${before} before, ${await total()} now`);
}

async function wipeGateway({ pushgatewayPort, everySeconds }: Stack): Promise<void> {
  const gateway = `http://127.0.0.1:${Number(pushgatewayPort)}`;
  say(
    "both groups are deleted from the Pushgateway, as by its restart.",
    "the page after the next tick: the totals go on; a tick may be missing.",
    "the gateway is a cache: what counts is in Postgres.",
  );
  /** The gateway's counters: how many repaired rows it shows, or undefined while a group is missing. */
  const shown = async () => {
    const text = await (await fetch(`${gateway}/metrics`, { signal: AbortSignal.timeout(5_000) })).text();
    const values = text.split("\n").filter((line) => line.startsWith(`${reconcilerMetric.actions}{`));
    const hasCounts = text.includes(`\n${checks[0]?.metric}{`);
    return hasCounts && values.length
      ? values.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0)
      : undefined;
  };
  const before = await shown();
  const wipedAt = Date.now();
  for (const job of ["veza_ledger", "veza_reconciler"]) {
    const group = groupUrl({ url: gateway }, { job, stage: undefined });
    await fetch(group, { method: "DELETE", signal: AbortSignal.timeout(5_000) });
  }
  const limitSeconds = 2 * everySeconds + 60;
  let after = await shown();
  while (after === undefined && Date.now() < wipedAt + limitSeconds * 1000) {
    await sleep(200);
    after = await shown();
  }
  if (after === undefined) throw new Error(`It was not seen within ${limitSeconds} s.`);
  const seconds = Math.ceil((Date.now() - wipedAt) / 1000);
  const goesOn = after === before ? "" : " (sweeps go on)";
  seen(`filled again after ${seconds} s. Repaired rows: ${before} before, ${after} now${goesOn}`);
}
