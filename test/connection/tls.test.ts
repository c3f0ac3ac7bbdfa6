// Certificates of Postgres and the gateway. Whom a process trusts from its start on takes a process of its own.

import { readFile } from "node:fs/promises";
import { afterAll, expect, inject, it, onTestFinished, vi } from "vitest";
import { connect } from "../../commands/connect.ts";
import { tlsSteps } from "../../commands/doctor/tls.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { parseDatabaseUrl } from "../../lib/settings/settings.ts";
import { startPostgres } from "../../local/postgres.ts";
import { makeCertificates, tlsFlags } from "../helpers/certificates.ts";
import { runScript } from "../helpers/processes.ts";
import { startProxy } from "../helpers/proxy.ts";
import { createTemplate } from "../helpers/template.ts";
import { startTlsFront } from "../helpers/tls.ts";

const certificates = await makeCertificates("IP:127.0.0.1,DNS:localhost");
const server = await startPostgres(0, tlsFlags(certificates));
afterAll(() => server.stop());
const verified = `${server.superuserUrl}?sslmode=verify-full`;
const unverified = `${server.superuserUrl}?sslmode=require`;

/** What the doctor advises first where a connection was refused so. */
const adviceOn = (refused: string) => tlsSteps(refused.replace("refused: ", ""), 5432)?.[0];

/** In this process. */
async function connectTo(url: string): Promise<string> {
  try {
    const database = await connect(async () => parseDatabaseUrl(url), "test", deadlineFor("Postgres", 60_000));
    onTestFinished(() => database.close());
    const [row] = await database.sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`;
    return `connected, encrypted: ${row?.ssl}`;
  } catch (error) {
    return `refused: ${(error as { code?: unknown }).code}`;
  }
}

/** In a process of its own, since Node reads NODE_EXTRA_CA_CERTS at its start. */
async function connectTrusting(ca: string, url: string): Promise<string> {
  const program = runScript("test/programs/connect.ts", [], { DATABASE_URL: url, NODE_EXTRA_CA_CERTS: ca });
  await program.exited;
  return program.output().trim();
}

it("takes a server whose certificate it can verify, and refuses any other", async () => {
  const hosts = ["127.0.0.1", "localhost"].map((host) => verified.replace("127.0.0.1", host));
  const connected = await Promise.all(hosts.map((url) => connectTrusting(certificates.ca, url)));
  expect(connected).toEqual(Array(2).fill("connected, encrypted: true"));
  const refused = await connectTo(verified);
  expect(refused).toMatch(/^refused: (UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)$/);
  expect(adviceOn(refused)).toMatch(/^name a file with its certificate authority: NODE_EXTRA_CA_CERTS/);
  vi.stubEnv("NODE_EXTRA_CA_CERTS", "/nowhere/ca.pem"); // Node only warns, at its start.
  onTestFinished(() => void vi.unstubAllEnvs());
  expect(adviceOn(refused)).toBe(
    "NODE_EXTRA_CA_CERTS is /nowhere/ca.pem, which cannot be read (ENOENT): correct that path",
  );
  expect(await connectTo(unverified)).toBe("connected, encrypted: true");
  expect(await connectTo(server.superuserUrl)).toBe("connected, encrypted: false");
});

it("refuses a server whose certificate is for another host", async () => {
  const others = await makeCertificates("DNS:postgres.example.com");
  const front = await startPostgres(0, tlsFlags(others));
  onTestFinished(() => front.stop());
  const refused = await connectTrusting(others.ca, `${front.superuserUrl}?sslmode=verify-full`);
  expect(refused).toBe("refused: ERR_TLS_CERT_ALTNAME_INVALID");
  expect(adviceOn(refused)).toBe("name the host in the URL as its certificate does");
});

it.each([
  ["does not speak TLS", "N"],
  ["has more behind its yes to TLS: anybody on the way may have put that there", "S!"],
])("refuses a server that %s", async (_, answer) => {
  const { port } = await startProxy(server.port, {
    answer: (chunk) => (String(chunk) === "S" ? Buffer.from(answer) : chunk),
  });
  const refused = await connectTo(unverified.replace(`:${server.port}/`, `:${port}/`));
  expect(refused).toBe("refused: ERR_SSL_REFUSED");
  expect(adviceOn(refused)).toMatch(/^turn TLS on in Postgres/);
});

it("trusts certificate authorities of one's own, for Postgres and the gateway, and only the given ones", async () => {
  await createTemplate(server.superuserUrl);
  const ofGateway = await makeCertificates("IP:127.0.0.1");
  const gateway = await startTlsFront(inject("pushgatewayUrl"), ofGateway);
  /** In a process of its own: a connection that was kept would not be verified again. */
  const tick = async (...authorities: string[]) => {
    const texts = await Promise.all(authorities.map((file) => readFile(file, "utf8")));
    const program = runScript("test/programs/tick.ts", [], {
      DATABASE_URL: `postgres://veza_ledger_sampler:sampler@127.0.0.1:${server.port}/ledger?sslmode=verify-full`,
      PUSHGATEWAY_URL: `https://127.0.0.1:${gateway.port}`,
      CA_CERTIFICATES: texts.join(""),
      STAGE: "tls",
      SECRET_ID: undefined,
    });
    await program.exited;
    return program.output();
  };
  expect(await tick(certificates.ca, ofGateway.ca)).toMatch(/^counts .*"stuck_orders":0,/m);
  const unpushed = await tick(certificates.ca);
  expect(unpushed).not.toContain("check failed");
  expect(unpushed).toMatch(/^failed: the push to the Pushgateway failed: .*certificate/m);
  const uncounted = await tick(ofGateway.ca);
  expect(uncounted).toMatch(/"code":"(UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)"/);
  expect(uncounted).toMatch(/^counts .*"stuck_orders":-1,/m);
});
