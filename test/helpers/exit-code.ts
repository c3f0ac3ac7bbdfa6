import { startPostgres } from "../../local/postgres.ts";

// Ends with an exit code of its own after it has used a local Postgres, as a test runner does.
const server = await startPostgres(0);
await server.stop();
process.exitCode = 3;
