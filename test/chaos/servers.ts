// Real servers that can be killed and started again.

import { execFile } from "node:child_process";
import { appendFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import postgres from "postgres";
import { onTestFinished } from "vitest";
import { freePort } from "../../local/ports.ts";
import { createCluster, runCluster } from "../../local/postgres.ts";
import { startPushgateway } from "../../local/programs.ts";
import { type Supervised, supervise } from "../../local/supervise.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { createTemplate } from "../helpers/template.ts";

/** A server that can be killed and started again, on the same port. It is stopped with the test. */
export interface Restartable {
  port: number;
  /** By SIGKILL. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** A real PostgreSQL with its data, in a folder that it alone uses. */
interface RestartablePostgres extends Restartable {
  dataFolder: string;
  superuserUrl: string;
}

/**
 * A real PostgreSQL that syncs to the disk: what was committed has to be there after a SIGKILL.
 * `prepare` may change its data before the first start.
 */
async function restartablePostgres(
  flags: string[] = [],
  prepare: (dataFolder: string) => Promise<void> = async () => {},
): Promise<RestartablePostgres> {
  const cluster = await createCluster();
  const dataFolder = path.join(cluster.folder, "data");
  const port = await freePort();
  let server: Supervised | undefined;
  let isOver = false;
  onTestFinished(async () => {
    isOver = true;
    await server?.end();
    await (await supervise("true", [], cluster)).exited; // Removes what a killed server has left, with the folder.
    await rm(cluster.folder, { recursive: true, force: true, maxRetries: 20 });
  });
  const start = async () => {
    // It refuses to start until the last session of the killed one has noticed, so it is tried again.
    for (const until = Date.now() + 30_000; !isOver; await sleep(100)) {
      try {
        server = await runCluster(cluster, port, ["-c", "fsync=on", ...flags], { keepsFolder: true });
        return;
      } catch (error) {
        if (Date.now() > until) throw error;
      }
    }
  };
  await prepare(dataFolder);
  await start();
  const superuserUrl = cluster.superuserUrl(port);
  return { port, dataFolder, superuserUrl, start, kill: async () => server?.end("SIGKILL") };
}

/** A standby of a server, by streaming replication. The primary is restarted on the way. */
export async function startStandby(primary: RestartablePostgres): Promise<RestartablePostgres> {
  await primary.kill();
  return await restartablePostgres([], async (dataFolder) => {
    await rm(dataFolder, { recursive: true });
    await promisify(execFile)("cp", ["-a", primary.dataFolder, dataFolder]); // Keeps the owner, unlike fs.cp().
    await primary.start();
    const connection = `${primary.superuserUrl}?application_name=standby`;
    await appendFile(path.join(dataFolder, "postgresql.auto.conf"), `primary_conninfo = '${connection}'\n`);
    await writeFile(path.join(dataFolder, "standby.signal"), "");
  });
}

const urlOn = ({ port }: { port: number }, login: string) => `postgres://${login}@127.0.0.1:${port}/ledger`;

/** A session of the superuser; it ends with the test. */
export function sessionOn(server: RestartablePostgres): postgres.Sql {
  // Of its question about types, postgres.js hears no failure when Postgres is killed: nobody could catch it.
  const options = { max: 2, onnotice: () => {}, fetch_types: false };
  const admin = postgres(server.superuserUrl.replace(/\w+$/, "ledger"), options);
  onTestFinished(() => admin.end({ timeout: 0 }));
  return admin;
}

/** A real PostgreSQL with an empty ledger, as createTemplate() makes it. */
export async function restartableLedger(flags: string[] = []): Promise<RestartablePostgres> {
  const server = await restartablePostgres(flags);
  await createTemplate(server.superuserUrl);
  return server;
}

/** The settings of a function, except for the receiver's secret. */
export const settingsOn = (database: { port: number }, gateway: { port: number }, role: "sampler" | "receiver") => ({
  ...withoutSettings,
  DATABASE_URL: urlOn(database, `veza_ledger_${role}:${role}`),
  PUSHGATEWAY_URL: `http://127.0.0.1:${gateway.port}`,
});

/** A real PostgreSQL with an empty ledger that is in recovery, as a replica is. The URL is the sampler's. */
export async function startReplica(): Promise<string> {
  const server = await restartableLedger();
  await sessionOn(server)`copy (select) to program 'cat > standby.signal'`; // In its data folder, for its next start.
  await server.kill();
  await server.start();
  return urlOn(server, "veza_ledger_sampler:sampler");
}

/** A real Pushgateway that keeps nothing, so that each start is a wipe. */
export async function restartablePushgateway(): Promise<Restartable> {
  let running = await startPushgateway(await freePort());
  const { url } = running;
  onTestFinished(() => running.stop());
  const start = async () => {
    running = await startPushgateway(Number(new URL(url).port));
    if (running.url !== url) throw new Error(`somebody else has taken the port of ${url}`);
  };
  return { port: Number(new URL(url).port), start, kill: () => running.stop("SIGKILL") };
}
