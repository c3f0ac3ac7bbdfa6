// SQL of clients/go/on-call.md. test/go/go-client.test.ts has what sends a parked row.
import { expect, it } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { databaseForTest } from "../helpers/database.ts";
import { blocksOf } from "../helpers/pages.ts";

it("clients/go/on-call.md makes several rows of one with too many events, and loses and doubles none", async () => {
  const { admin, adminUrl } = await databaseForTest();
  await runSqlFiles(adminUrl, ["clients/go/outbox.sql"]);
  const [split = ""] = (await blocksOf("clients/go/on-call.md", "sql")).filter((sql) => sql.includes("insert into"));
  const events = Array.from({ length: 2_001 }, (_, number) => ({ number }));
  await admin`insert into ledger_metrics_outbox (id, body, parked_at) values
    ('large', ${JSON.stringify(events)}, now()), ('sent', ${JSON.stringify(events)}, null)`;
  expect(await admin.unsafe(split.replaceAll("…", "sent")), "it is not parked").toHaveProperty("count", 0);
  expect(await admin.unsafe(split.replaceAll("…", "large"))).toHaveProperty("count", 3);
  expect(await admin.unsafe(split.replaceAll("…", "large")), "once").toHaveProperty("count", 0);
  const rows = await admin`select id, jsonb_array_length(body::jsonb) as events, attempts, parked_at
    from ledger_metrics_outbox where id <> 'sent' order by id`;
  const waiting = { attempts: 0, parked_at: null };
  expect(rows).toMatchObject([
    { id: "large-0", events: 1_000, ...waiting },
    { id: "large-1", events: 1_000, ...waiting },
    { id: "large-2", events: 1, ...waiting },
  ]);
  const [kept] = await admin`select count(distinct event)::int as events
    from ledger_metrics_outbox, jsonb_array_elements(body::jsonb) as event where id <> 'sent'`;
  expect(kept).toEqual({ events: 2_001 });
});
