import { parseArgs } from "node:util";
import { runSqlFiles } from "./sql.ts";

// npm run migrate: applies the schema of the durable totals to the database in DATABASE_URL.
try {
  parseArgs({ options: {} });
} catch {
  console.error("usage: npm run migrate");
  process.exit(2);
}
const url = process.env.DATABASE_URL;
if (!url) {
  console.error("DATABASE_URL is missing: the database to apply the schema to, as a role that may create schemas.");
  process.exit(1);
}
try {
  await runSqlFiles(url, ["config/postgres/schema.sql"]);
  console.log("The schema ledger_metrics is in place. Next: config/postgres/roles.sql.");
} catch (error) {
  console.error(`The schema could not be applied: ${(error as Error).message}`);
  process.exit(1);
}
