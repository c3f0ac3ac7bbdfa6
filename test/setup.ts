import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import type { TestProject } from "vitest/node";
import { freePort } from "../local/ports.ts";
import { createCluster, runCluster } from "../local/postgres.ts";
import { startPushgateway } from "../local/programs.ts";
import { makeCertificates, tlsFlags } from "./helpers/certificates.ts";
import { findProgram, type ProgramName } from "./helpers/find-program.ts";
import { oldestNode } from "./helpers/oldest-node.ts";
import { createTemplate } from "./helpers/template.ts";

declare module "vitest" {
  interface ProvidedContext {
    adminUrl: string;
    pushgatewayUrl: string;
  }
}

/** What the tests use: one program of each package, but for the Pushgateway's. */
const programs = ["prometheus", "alertmanager", "pgbouncer", "victoria-metrics"] as const;

/** One real Postgres and one real Pushgateway for all tests, on free ports. Each file copies the database `ledger`. */
export default async function setup({ provide }: TestProject) {
  // No test waits for a download, or fails by it. Where a program is not to be had, the tests that need it say so.
  const fetch = (name: ProgramName) => findProgram(name).catch(() => {});
  // promtool is in the package of Prometheus, or in its own.
  const found = Promise.all([...programs.map(fetch), oldestNode()]).then(() => fetch("promtool"));
  found.catch(() => {}); // It is awaited below.
  const started: { stop(): Promise<void> }[] = [];
  const stop = async () => {
    for (const server of started) await server.stop();
  };
  try {
    const pushgateway = await startPushgateway(0);
    started.push(pushgateway);
    const certificates = await makeCertificates("IP:127.0.0.1,DNS:localhost");
    const cluster = await createCluster();
    // Whatever else starts a PostgreSQL copies this folder, which takes a tenth of initdb's time.
    const template = path.join(cluster.folder, "template");
    await mkdir(template);
    const copied = ["data", "password"].map((name) => path.join(cluster.folder, name));
    await promisify(execFile)("cp", ["-a", ...copied, template]);
    const port = await freePort();
    // An autovacuum that happens to run changes statistics and plans, and holds up what drops a database.
    const settings = ["fsync=off", "autovacuum=off", "max_connections=200", "max_prepared_transactions=5"];
    const flags = settings.flatMap((setting) => ["-c", setting]);
    const server = await runCluster(cluster, port, [...flags, ...tlsFlags(certificates)], { keepsFolder: false });
    started.push({ stop: () => server.end() });
    process.env.POSTGRES_TEMPLATE = template;
    const adminUrl = cluster.superuserUrl(port);
    await createTemplate(adminUrl);
    await found;
    provide("adminUrl", adminUrl);
    provide("pushgatewayUrl", pushgateway.url);
    return stop;
  } catch (error) {
    await stop();
    // Thrown, it would stand below "No test files found".
    process.stderr.write(`\nNo test can run: ${(error as Error).message}\n`);
    process.exit(1);
  }
}
