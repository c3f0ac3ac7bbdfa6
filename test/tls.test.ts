import { expect, it, onTestFinished } from "vitest";
import { type LocalPostgres, startPostgres } from "../local/postgres.ts";
import { runScript } from "./helpers/processes.ts";
import { makeCertificates } from "./helpers/tls.ts";

async function startTlsPostgres(names: string): Promise<{ server: LocalPostgres; ca: string }> {
  const { ca, key, cert } = await makeCertificates(names);
  const server = await startPostgres(0, ["-c", "ssl=on", "-c", `ssl_cert_file=${cert}`, "-c", `ssl_key_file=${key}`]);
  onTestFinished(() => server.stop());
  return { server, ca };
}

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
  expect(await connectTo(verified)).toMatch(/^refused: (UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)$/);
  expect(await connectTo(`${server.superuserUrl}?sslmode=require`)).toBe("connected, encrypted: true");
  expect(await connectTo(server.superuserUrl)).toBe("connected, encrypted: false");
});

it("refuses a server whose certificate is for another host", async () => {
  const { server, ca } = await startTlsPostgres("DNS:postgres.example.com");
  for (const host of ["127.0.0.1", "localhost"]) {
    const url = `${server.superuserUrl.replace("127.0.0.1", host)}?sslmode=verify-full`;
    expect(await connectTo(url, ca)).toBe("refused: ERR_TLS_CERT_ALTNAME_INVALID");
  }
});

it("refuses a server that does not speak TLS", async () => {
  const server = await startPostgres(0);
  onTestFinished(() => server.stop());
  expect(await connectTo(`${server.superuserUrl}?sslmode=require`)).toMatch(/^refused: /);
});
