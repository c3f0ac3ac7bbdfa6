// docs/outbox.md has the statements that the clients run.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";

const oneLine = (text: string) =>
  text
    .replaceAll(/\s+/g, " ")
    .replaceAll(/(?<=\() | (?=\))/g, "")
    .trim();
const textOf = async (...files: string[]) =>
  oneLine((await Promise.all(files.map((file) => readFile(file, "utf8")))).join("\n"));

const page = await readFile("docs/outbox.md", "utf8");
const [, sql = ""] = /```sql\n([\s\S]*?)```/.exec(page) ?? [];
const statements = sql
  .replaceAll(/^--.*$/gm, "")
  .split(";")
  .map(oneLine)
  .filter(Boolean);

it("is at most 60 lines, with a sender of at most 40", async () => {
  expect(page.split("\n").length - 1).toBeLessThanOrEqual(60);
  expect((await readFile("clients/python/sender.py", "utf8")).split("\n").length - 1).toBeLessThanOrEqual(40);
});

it("has the statements of the Go client, and the statement by which people set a row aside", async () => {
  const names = ["enqueue", "drain", "settle", "resend"];
  const client = await textOf(...names.map((name) => `clients/go/ledgermetrics/${name}.go`));
  const byHand = statements.filter((statement) => !client.includes(statement));
  expect([statements.length, byHand.length]).toEqual([7, 1]);
  for (const file of ["clients/go/README.md", "docs/runbook/VezaLedgerOutboxStuck.md"]) {
    expect(await textOf(file)).toContain(byHand[0]?.replace("$1", "'…'"));
  }
});

it("has the statements of the sender in Python", async () => {
  const ofSender = await textOf("clients/python/statements.py");
  expect(statements.filter((statement) => ofSender.includes(statement))).toHaveLength(3);
});
