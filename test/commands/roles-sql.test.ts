// The rights of each role, as the doctor reads them from roles.sql.
import { expect, it } from "vitest";
import { readGrants } from "../../commands/roles-sql.ts";
import { readSqlFile } from "../../commands/sql.ts";
import { checks } from "../../lib/checks.ts";

it("knows every grant of roles.sql", async () => {
  const text = await readSqlFile("config/postgres/roles.sql");
  const lines = text.match(/^ *grant [^;]+? on [^;]+;/gm) ?? [];
  const grants = await readGrants();
  expect(lines.length).toBeGreaterThan(8);
  expect(grants).toHaveLength(lines.length);
  expect(grants).toContainEqual({
    privileges: [
      { name: "select", columns: [] },
      { name: "insert", columns: [] },
      { name: "update", columns: ["attempts"] },
      { name: "delete", columns: [] },
    ],
    kind: "table",
    names: ["ledger_metrics.deliveries"],
    roles: ["veza_ledger_receiver"],
  });
  for (const { table, time } of checks) {
    const columns = grants.flatMap(({ names, roles, privileges }) =>
      names.includes(table) && roles.includes("veza_ledger_sampler")
        ? privileges.flatMap(({ columns }) => columns)
        : [],
    );
    expect(columns).toEqual(expect.arrayContaining(["status", time]));
  }
});
