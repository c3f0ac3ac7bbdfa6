import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import postgresClient from "postgres";
import { onTestFinished } from "vitest";
import { createDemoLedger } from "../../local/demo-ledger.ts";
import { freePort } from "../../local/ports.ts";
import { createCluster, runCluster } from "../../local/postgres.ts";
import { startPushgateway } from "../../local/programs.ts";
import type { Supervised } from "../../local/supervise.ts";

/** A server that can be killed and started again, on the same port. It is stopped with the test. */
export interface Restartable {
  port: number;
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** A real PostgreSQL that syncs to the disk: what was committed has to be there after a SIGKILL. Password: postgres. */
export async function restartablePostgres(flags: string[] = []): Promise<Restartable> {
  const cluster = await createCluster();
  const port = await freePort();
  let server: Supervised | undefined;
  let isOver = false;
  onTestFinished(async () => {
    isOver = true;
    await server?.end();
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
  await start();
  return { port, start, kill: async () => server?.end("SIGKILL") };
}

/** A real PostgreSQL with an empty ledger that is in recovery, as a replica is. The URL is the sampler's. */
export async function startReplica(): Promise<string> {
  const server = await restartablePostgres();
  const adminUrl = `postgres://postgres:postgres@127.0.0.1:${server.port}/postgres`;
  await createDemoLedger(adminUrl);
  const admin = postgresClient(adminUrl, { max: 1 });
  await admin`alter role veza_ledger_sampler password 'sampler'`;
  await admin`copy (select) to program 'cat > standby.signal'`; // In its data folder, where it looks when it starts.
  await admin.end();
  await server.kill();
  await server.start();
  return adminUrl.replace("postgres:postgres@", "veza_ledger_sampler:sampler@");
}

/** A real Pushgateway that keeps nothing: each start is a wipe. */
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
