// Certificates of Postgres and the gateway, each verified in a process of its own.

import { readFile } from "node:fs/promises";
import { expect, inject, it, onTestFinished, vi } from "vitest";
import { tlsSteps } from "../../commands/doctor/tls.ts";
import { type LocalPostgres, startPostgres } from "../../local/postgres.ts";
import { makeCertificates, tlsFlags } from "../helpers/certificates.ts";
import { runScript } from "../helpers/processes.ts";
import { startProxy } from "../helpers/proxy.ts";
import { createTemplate } from "../helpers/template.ts";
import { startTlsFront } from "../helpers/tls.ts";

async function startTlsPostgres(names: string): Promise<{ server: LocalPostgres; ca: string; gatewayUrl: string }> {
  const certificates = await makeCertificates(names);
  const { ca } = certificates;
  const gateway = await startTlsFront(inject("pushgatewayUrl"), certificates);
  const gatewayUrl = `https://127.0.0.1:${gateway.port}`;
  const server = await startPostgres(0, tlsFlags(certificates));
  onTestFinished(() => server.stop());
  return { server, ca, gatewayUrl };
}

/** What the doctor advises first where a connection was refused so. */
const adviceOn = (refused: string) => tlsSteps(refused.replace("refused: ", ""), 5432)?.[0];

/** In a process of its own, since Node reads NODE_EXTRA_CA_CERTS at its start. */
async function connectTo(url: string, ca?: string): Promise<string> {
  const program = runScript("test/programs/connect.ts", [], { DATABASE_URL: url, NODE_EXTRA_CA_CERTS: ca });
  await program.exited;
  return program.output().trim();
}

it("takes a server whose certificate it can verify, and refuses any other", async () => {
  const { server, ca } = await startTlsPostgres("IP:127.0.0.1,DNS:localhost");
  const verified = `${server.superuserUrl}?sslmode=verify-full`;
  expect(await connectTo(verified, ca)).toBe("connected, encrypted: true");
  expect(await connectTo(verified.replace("127.0.0.1", "localhost"), ca)).toBe("connected, encrypted: true");
  const refused = await connectTo(verified);
  expect(refused).toMatch(/^refused: (UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)$/);
  expect(adviceOn(refused)).toMatch(/^name a file with its certificate authority: NODE_EXTRA_CA_CERTS/);
  vi.stubEnv("NODE_EXTRA_CA_CERTS", "/nowhere/ca.pem"); // Node only warns, at its start.
  onTestFinished(() => void vi.unstubAllEnvs());
  expect(adviceOn(refused)).toBe(
    "NODE_EXTRA_CA_CERTS is /nowhere/ca.pem, which cannot be read (ENOENT): correct that path",
  );
  expect(await connectTo(`${server.superuserUrl}?sslmode=require`)).toBe("connected, encrypted: true");
  expect(await connectTo(server.superuserUrl)).toBe("connected, encrypted: false");
});

it("refuses a server whose certificate is for another host", async () => {
  const { server, ca } = await startTlsPostgres("DNS:postgres.example.com");
  for (const host of ["127.0.0.1", "localhost"]) {
    const url = `${server.superuserUrl.replace("127.0.0.1", host)}?sslmode=verify-full`;
    const refused = await connectTo(url, ca);
    expect(refused).toBe("refused: ERR_TLS_CERT_ALTNAME_INVALID");
    expect(adviceOn(refused)).toBe("name the host in the URL as its certificate does");
  }
});

it("refuses a server that does not speak TLS", async () => {
  const server = await startPostgres(0);
  onTestFinished(() => server.stop());
  const refused = await connectTo(`${server.superuserUrl}?sslmode=require`);
  expect(adviceOn(refused)).toMatch(/^turn TLS on in Postgres/);
});

it("refuses a server whose yes to TLS has more behind it: anybody on the way may have put that there", async () => {
  const { server } = await startTlsPostgres("IP:127.0.0.1");
  const injectBehindYes = (chunk: Buffer) => (String(chunk) === "S" ? Buffer.from("S!") : chunk);
  const { port } = await startProxy(server.port, { answer: injectBehindYes });
  const url = server.superuserUrl.replace(`:${server.port}/`, `:${port}/`);
  expect(await connectTo(`${url}?sslmode=require`)).toBe("refused: ERR_SSL_REFUSED");
});

it("trusts certificate authorities of one's own, for Postgres and the gateway, and only the given ones", async () => {
  const { server, ca, gatewayUrl } = await startTlsPostgres("IP:127.0.0.1");
  await createTemplate(server.superuserUrl);
  const verified = `postgres://veza_ledger_sampler:sampler@127.0.0.1:${server.port}/ledger?sslmode=verify-full`;
  /** In a process of its own: a connection that was kept would not be verified again. */
  const tick = async (DATABASE_URL: string, PUSHGATEWAY_URL: string, CA_CERTIFICATES?: string) => {
    const settings = { DATABASE_URL, PUSHGATEWAY_URL, CA_CERTIFICATES, STAGE: "tls", SECRET_ID: undefined };
    const program = runScript("test/programs/tick.ts", [], settings);
    await program.exited;
    return program.output();
  };
  const certificates = await readFile(ca, "utf8");
  const other = await readFile((await makeCertificates("IP:127.0.0.1")).ca, "utf8");
  for (const right of [certificates, other + certificates]) {
    expect(await tick(verified, gatewayUrl, right)).toMatch(/^counts .*"stuck_orders":0,/m);
  }
  for (const wrong of [undefined, other]) {
    const uncounted = await tick(verified, inject("pushgatewayUrl"), wrong);
    expect(uncounted).toMatch(/"code":"(UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)"/);
    expect(uncounted).toMatch(/^counts .*"stuck_orders":-1,/m);
    const unpushed = await tick(verified.replace("verify-full", "disable"), gatewayUrl, wrong);
    expect(unpushed).toMatch(/^failed: the push to the Pushgateway failed: .*certificate/m);
  }
});
