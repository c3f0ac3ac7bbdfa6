import { randomUUID } from "node:crypto";
import { deliver } from "../commands/deliver.ts";
import { deadlineFor } from "../lib/deadline.ts";
import { keepConnections } from "../lib/postgres/connections.ts";
import { withDeadline } from "../lib/postgres/database.ts";
import { parseDatabaseUrl } from "../lib/settings/settings.ts";
import { reconcilerMetric, type SentEvent } from "../lib/totals/events.ts";

/** What each button of the page does. Resolves to sentences about it, or rejects with an Error. */
export type Buttons = Record<"rename" | "twice", () => Promise<string>>;

const column = "hyperswitch_refund_id";
/** The demo's own reconciler seldom repairs a row of this phase. */
const phase = "orphan_refunds";

/** The buttons of the page, each of which shows a promise on the demo ledger. */
export function makeButtons(adminUrl: string, receiverUrl: string, secret: string): Buttons {
  const target = parseDatabaseUrl(adminUrl);
  const connections = keepConnections("veza-demo-buttons")(async () => target);
  const ask = (question: string) =>
    connections.use((database) =>
      withDeadline(database, deadlineFor("Postgres", 5_000), (sql) => sql.unsafe(question)),
    );
  const total = async () => {
    const [row] = await ask(`select value::int from ledger_metrics.totals
      where name = '${reconcilerMetric.actions}' and labels ->> 'phase' = '${phase}'`);
    return row?.value ?? 0;
  };
  return {
    async rename() {
      const [renamed] = await ask(`select from pg_attribute
        where attrelid = 'public.refunds'::regclass and attname = '${column}_renamed'`);
      if (renamed) {
        await ask(`alter table refunds rename ${column}_renamed to ${column}`);
        return `refunds.${column} has its name again. The next tick counts all, and nothing has to be restarted.`;
      }
      await ask(`alter table refunds rename ${column} to ${column}_renamed`);
      return (
        `refunds.${column} is renamed, as by a migration. From the next tick on, both counts of refunds are unknown, ` +
        "never 0, and the others stay right. Press again to repair it."
      );
    },
    async twice() {
      const id = `demo_${randomUUID().slice(0, 8)}`;
      const event: SentEvent = { type: "reconciler.action", timestamp: new Date().toISOString(), data: { phase } };
      const send = async () => {
        const { status, answer } = await deliver(receiverUrl, secret, id, JSON.stringify(event));
        if (status !== 200) throw new Error(`the receiver answered ${status}: ${answer}`);
        return JSON.parse(answer).status;
      };
      const before = await total();
      const answers = `${await send()}, then ${await send()}`;
      return (
        `One repaired row was posted twice as ${id}, as after a time-out: ${answers}. ` +
        `Repaired ${phase}: ${before} before, ${await total()} now.`
      );
    },
  };
}
