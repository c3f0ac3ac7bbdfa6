import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { runProgram, runScript } from "../helpers/processes.ts";

it("every query of the runbook runs as it is pasted into the psql that npm start prints", async () => {
  const stack = runScript("local/start.ts", ["--every", "1"], {
    DATABASE_URL: undefined,
    PUSHGATEWAY_URL: undefined,
    WEBHOOK_SECRET: undefined,
    SECRET_ID: undefined,
    STAGE: undefined,
  });
  onTestFinished(async () => {
    stack.child.kill("SIGINT");
    await stack.exited;
  });
  const url = await stack.printed(/^On call +psql (\S+)/m);
  await stack.printed(/"message":"tick"/);

  const folder = "docs/runbook";
  const pages = await Promise.all((await readdir(folder)).map((name) => readFile(path.join(folder, name), "utf8")));
  const queries = pages.flatMap((page) => [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql = ""]) => sql));
  expect(queries.length).toBeGreaterThan(15);
  const psql = runProgram("psql", [url, "-v", "ON_ERROR_STOP=1"], { PGCONNECT_TIMEOUT: "10" }, "pipe");
  psql.child.stdin?.end(queries.join("\n"));
  await psql.exited;
  expect(psql.child.exitCode, psql.output()).toBe(0);
  expect(psql.output()).toMatch(/\bdemo_pay_\d/);
  // A sum, with the demo's amounts.
  const [orders = ""] = queries.filter((sql) => sql.includes("as orders, id"));
  const sum = runProgram(
    "psql",
    [url, "-Atc", orders.replace("-- , sum(YOUR_AMOUNT_COLUMN)", ", sum(amount_cents)")],
    {},
  );
  await sum.exited;
  expect(sum.output().split("\n")[0]).toMatch(/^\d+\|\d+\|demo_pay_\S+\|.*\|\d+$/);
});
