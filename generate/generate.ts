import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { ledgerDashboard } from "../config/grafana/layout.ts";
import { amounts } from "./amounts.ts";
import { eventsSchema } from "./events-schema.ts";
import { indexes, rollback } from "./indexes.ts";
import { outboxFile, rolesFile, rowsFile, uninstallFile } from "./roles.ts";
import { rulesFile } from "./rules-of-checks.ts";
import { filesWithVersion, withVersion } from "./version.ts";

// npm run generate: writes what is made from the checks (lib/counts/checks.ts and config/words-of-checks.ts), from
// the schema of events (lib/totals/events.ts), from config/grafana/*.ts, and from the version in package.json. A test
// says when a file is stale: test/docs/generated.test.ts.

const json = (value: object) => `${JSON.stringify(value, null, 2)}\n`;

/** For each file, its text from its text until now. Most files have generated parts between marks. */
const files: Record<string, (text: string) => string | Promise<string>> = {
  "clients/go/outbox.sql": outboxFile,
  "config/alertmanager/ledger.yml": rulesFile,
  "config/grafana/ledger.json": () => json(ledgerDashboard()),
  "config/postgres/amounts.sql": () => amounts,
  "config/postgres/indexes.sql": () => indexes,
  "config/postgres/indexes.rollback.sql": () => rollback,
  "config/postgres/roles.sql": rolesFile,
  "config/postgres/rows.sql": rowsFile,
  "config/postgres/uninstall.sql": uninstallFile,
  "docs/events.schema.json": () => json(eventsSchema()),
  ...Object.fromEntries(filesWithVersion().map((file) => [file, withVersion])),
};

/** The generated files as they should be and as they are, by their paths in the project. */
export async function generate(): Promise<{ file: string; text: string; old: string }[]> {
  return Promise.all(
    Object.entries(files).map(async ([file, textFrom]) => {
      const old = await readFile(path.join(import.meta.dirname, "..", file), "utf8");
      return { file, text: await textFrom(old), old };
    }),
  );
}

if (import.meta.main) {
  for (const { file, text } of await generate()) await writeFile(path.join(import.meta.dirname, "..", file), text);
}
