import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestProject } from "vitest/node";
import { findProgram } from "../local/find-program.ts";
import { startPostgres } from "../local/postgres.ts";
import { startPushgateway } from "../local/programs.ts";
import { makeCertificatesIn, tlsFlags } from "./helpers/certificates.ts";
import { createTemplate } from "./helpers/template.ts";

declare module "vitest" {
  interface ProvidedContext {
    adminUrl: string;
    pushgatewayUrl: string;
  }
}

/** One real Postgres and one real Pushgateway for all tests, on free ports. Each file copies the database `ledger`. */
export default async function setup({ provide }: TestProject) {
  // A first download may take longer than a test has. Where a program is not to be had, the tests that need it say so.
  for (const name of ["prometheus", "promtool", "amtool"] as const) await findProgram(name).catch(() => {});
  const folder = await mkdtemp(path.join(tmpdir(), "veza-tls-"));
  const started: { stop(): Promise<void> }[] = [];
  const stop = async () => {
    for (const server of started) await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const pushgateway = await startPushgateway(0);
    started.push(pushgateway);
    const certificates = await makeCertificatesIn(folder, "IP:127.0.0.1,DNS:localhost");
    const server = await startPostgres(0, ["-c", "max_connections=200", ...tlsFlags(certificates)]);
    started.push(server);
    await createTemplate(server.superuserUrl);
    provide("adminUrl", server.superuserUrl);
    provide("pushgatewayUrl", pushgateway.url);
    return stop;
  } catch (error) {
    await stop();
    throw error;
  }
}
