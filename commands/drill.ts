import { EventEmitter, once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { checks } from "../lib/checks.ts";
import { deadline } from "../lib/deadline.ts";
import { expose, family } from "../lib/exposition.ts";
import { errorFields } from "../lib/log.ts";
import { groupUrl, type PushgatewayTarget, push } from "../lib/pushgateway.ts";
import { loadPushgateway } from "../lib/settings.ts";

// npm run drill: has one page sent, from the gateway to the phone, without touching the ledger.
const usage = `usage: npm run drill

Pushes a count of 1 under stage="drill" until its page has arrived, then 0, and
deletes the group. So it proves gateway, scrape, rules, route and pager, and
touches no ledger. No stage of your own may be called drill.

PUSHGATEWAY_URL, with PUSHGATEWAY_TOKEN, names the gateway, or the secret in
SECRET_ID does, as for the functions.`;

const group = { job: "veza_ledger", stage: "drill" };
/** Its alert pages soonest: after 5 minutes. */
const metric = "veza_ledger_orphan_refund_rows";
const alert = "VezaLedgerOrphanRefunds";
/** Tests have shorter minutes. */
const minuteMs = Number(process.env.DRILL_MINUTE_MS ?? 60_000);
const pushEveryMs = minuteMs / 4;
const pageMinutes = 20;
const endMinutes = 10;
/** Longer than a scrape and an evaluation: an alert ends when a 0 was seen, and never because the group is gone. */
const settleMinutes = 2;

/** What the person does: confirms, or gives up. */
type Turn = "enter" | "interrupt";

if (process.argv.length > 2) {
  console.error(usage);
  process.exit(2);
}
const turns = listen();
try {
  process.exitCode = (await drill(await loadPushgateway())) ? 0 : 1;
} catch (error) {
  console.error(`${errorFields(error).reason}\n\n${usage}`);
  process.exitCode = 1;
}
process.exit();

/** Resolves to true when a page was confirmed, and the group is gone. Throws when the first push fails. */
async function drill(gateway: PushgatewayTarget): Promise<boolean> {
  await pushCount(gateway, 1);
  console.log(`Pushed ${metric}{stage="drill"} 1
to ${gateway.url}. What should happen now:

  in 1 minute   Prometheus finds ${metric}{stage="drill"}.
                If not: it does not scrape this gateway with honor_labels.
  in 2 minutes  Its alerts show ${alert}, stage drill, pending.
                If not: it has not loaded config/alertmanager/ledger.yml.
  in 6 minutes  The alert fires, and Alertmanager shows it.
                If not: Prometheus names no Alertmanager under "alerting".
  in 7 minutes  The page arrives. Its text begins with "A drill".
                If not: see where the route leads to:
amtool --alertmanager.url=http://localhost:9093 config routes test \\
  severity=page alertname=${alert} stage=drill

Press Enter when the page has arrived, or Ctrl-C to give up.
It waits for ${pageMinutes} minutes.
`);
  const paged = await hold(gateway, 1, pageMinutes, ["enter", "interrupt"]);
  const isPaged = paged === "enter";
  const zeroAt = Date.now();
  if (isPaged) {
    console.log(`Pushes 0. In 2 minutes the alert ends in Prometheus. In 7 minutes, by its
group_interval, Alertmanager tells the pager, which closes the incident.

Press Enter when that has arrived. It waits for ${endMinutes} minutes.
`);
    const ended = await hold(gateway, 0, endMinutes, ["enter", "interrupt"]);
    if (!ended) console.log(`No end within ${endMinutes} minutes: has the receiver send_resolved?`);
  } else if (!paged) {
    console.log(`No page within ${pageMinutes} minutes. The first step that did not happen says why.`);
  }
  const restMinutes = settleMinutes - (Date.now() - zeroAt) / minuteMs;
  if (restMinutes > 0) {
    console.log(`Pushes 0 for ${Math.ceil(restMinutes)} min, so that Prometheus sees it.
Ctrl-C deletes the group at once.`);
    if (await hold(gateway, 0, restMinutes, ["interrupt"])) {
      console.log(`Prometheus may not have seen the 0. Then the alert stays for a day. Silence it:
amtool --alertmanager.url=http://localhost:9093 silence add --duration=1d \\
  --comment=drill stage=drill`);
    }
  }
  await deleteGroup(gateway);
  if (isPaged) console.log("Gateway, scrape, rules, route and pager work.");
  return isPaged;
}

/** Pushes a count again and again. Resolves to the person's turn, if asked for, or to undefined when time is up. */
async function hold(
  gateway: PushgatewayTarget,
  count: number,
  minutes: number,
  asked: Turn[],
): Promise<Turn | undefined> {
  const until = Date.now() + minutes * minuteMs;
  const over = new AbortController();
  const took = asked.map((turn) =>
    once(turns, turn, over).then(
      () => turn,
      () => undefined,
    ),
  );
  let isTold = false;
  try {
    for (;;) {
      await pushCount(gateway, count).catch((error) => {
        if (!isTold) console.log(`A push failed, and is tried again: ${errorFields(error).reason}`);
        isTold = true;
      });
      const restMs = until - Date.now();
      if (restMs <= 0) return undefined;
      const taken = await Promise.race([...took, sleep(Math.min(pushEveryMs, restMs), undefined, over)]);
      if (taken) return taken;
    }
  } finally {
    over.abort();
  }
}

async function pushCount(gateway: PushgatewayTarget, value: number): Promise<void> {
  const help = checks.find((check) => check.metric === metric)?.help ?? "";
  const text = await expose([family("gauge", metric, help)], [{ name: metric, labels: {}, value }]);
  await push(gateway, group, text, deadline("the Pushgateway", 3_000));
}

async function deleteGroup(gateway: PushgatewayTarget): Promise<void> {
  const url = groupUrl(gateway, group);
  const answer = await fetch(url, {
    method: "DELETE",
    headers: gateway.authorization ? { authorization: gateway.authorization } : {},
    redirect: "error",
    signal: AbortSignal.timeout(5_000),
  }).catch(() => undefined);
  if (answer?.ok) return console.log("Deleted the group.");
  console.log(`The group was not deleted, and stays at 0. Delete it: curl -X DELETE
${url}`);
}

/** Emits the person's turns. */
function listen(): EventEmitter {
  const emitter = new EventEmitter();
  const take = (turn: Turn) => emitter.emit(turn);
  createInterface({ input: process.stdin, terminal: false }).on("line", () => take("enter"));
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => take("interrupt"));
  return emitter;
}
