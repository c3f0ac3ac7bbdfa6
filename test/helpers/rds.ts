import { execFile } from "node:child_process";
import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import tls from "node:tls";
import { promisify } from "node:util";
import postgres from "postgres";
import { onTestFinished } from "vitest";
import { startPostgres } from "../../local/postgres.ts";
import { makeCertificates } from "./certificates.ts";
import { tcpServer } from "./servers.ts";
import { createTemplate } from "./template.ts";
import { newFolder } from "./temporary-folder.ts";

/** Another address of this machine: settings take it for a server elsewhere. */
const host = "0.0.0.0";

/** What signs a token, as in the environment of a function. */
export const awsCredentials = {
  AWS_REGION: "eu-central-1",
  AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
  AWS_SECRET_ACCESS_KEY: "secret/access+key",
  AWS_SESSION_TOKEN: "session/token+==",
};

/**
 * Stands in for RDS with IAM authentication, in front of a real PostgreSQL with the ledger and both roles. It takes
 * connections with TLS only, asks for a password in clear text, and verifies this token as AWS documents Signature
 * Version 4. Where there is a role `rds_iam`, it takes a token from its members alone, and a password from all others,
 * which is their name. Where there is none, the service's logins are as its members. It leaves out: what a policy
 * allows, and tokens of more than one account.
 */
export async function startRds(fill = createTemplate) {
  const { ca, key: keyFile, cert: certFile } = await makeCertificates(`IP:${host}`);
  // Behind the front no password is asked for, on a socket that nobody else can reach.
  const socketFolder = await newFolder();
  if (process.getuid?.() === 0) await promisify(execFile)("chown", ["nobody", socketFolder]);
  const access = path.join(path.dirname(ca), "pg_hba.conf");
  await writeFile(access, "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n", { mode: 0o644 });
  const server = await startPostgres(0, ["-c", `hba_file=${access}`, "-k", socketFolder]);
  onTestFinished(() => server.stop());
  await fill(server.superuserUrl);

  const admin = postgres(server.superuserUrl, { max: 1 });
  onTestFinished(() => admin.end());
  const takesTokens = async (username: string): Promise<boolean> => {
    const [row] = await admin`select case when to_regrole('rds_iam') is null then ${username} ^@ 'veza_ledger_'
      else coalesce(pg_has_role(to_regrole(${username}), to_regrole('rds_iam'), 'usage'), false) end as takes`;
    return row?.takes;
  };

  const [key, cert] = await Promise.all([readFile(keyFile), readFile(certFile)]);
  /** The tokens that came, and why the refused ones were refused. */
  const logins: { token: string; problem: string | undefined }[] = [];
  const logIn = async (socket: net.Socket) => {
    const isTls = (await take(socket, 8)).readUInt32BE(4) === 80877103;
    if (!isTls) return socket.end(fatal("no pg_hba.conf entry for this host, no encryption"));
    socket.write("S");
    const client = new tls.TLSSocket(socket, { isServer: true, key, cert });
    client.on("error", () => {});
    const startup = await takeMessage(client);
    client.write(Buffer.from("R\0\0\0\x08\0\0\0\x03")); // Asks for a password in clear text.
    await take(client, 1);
    const token = (await takeMessage(client)).toString("utf8", 4).replace(/\0$/, "");
    const [, username = ""] = /\0user\0([^\0]*)/.exec(startup.toString("latin1", 7)) ?? [];
    const isIam = await takesTokens(username);
    if (!isIam && token !== username) {
      return client.end(fatal(`password authentication failed for user "${username}"`, "28P01"));
    }
    const problem = isIam ? problemOf(token, `${host}:${port}`, username) : undefined;
    if (isIam) logins.push({ token, problem });
    if (problem) return client.end(fatal(`PAM authentication failed for user "${username}"`));
    const upstream = net.connect(path.join(socketFolder, `.s.PGSQL.${server.port}`));
    upstream.on("error", () => client.destroy());
    upstream.write(startup);
    client.pipe(upstream).pipe(client);
  };
  const port = await tcpServer((socket) => void logIn(socket).catch(() => socket.destroy()));
  return {
    /** DATABASE_URL of a role, without a password. */
    urlOf: (username: string) => `postgres://${username}@${host}:${port}/ledger`,
    /** `host:port`. */
    address: `${host}:${port}`,
    /** Of the authority that has signed its certificate, as CA_CERTIFICATES wants it, and as a file. */
    certificates: await readFile(ca, "utf8"),
    certificatesFile: ca,
    logins,
    /** Without a front. */
    superuserUrl: server.superuserUrl,
  };
}

/** The next bytes, so many. */
async function take(socket: net.Socket, length: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(length);
    if (bytes) return bytes;
    await once(socket, "readable", { signal: AbortSignal.timeout(60_000) });
  }
}

/** The next message from its length on, which includes the length. */
async function takeMessage(socket: net.Socket): Promise<Buffer> {
  const length = await take(socket, 4);
  return Buffer.concat([length, await take(socket, length.readUInt32BE() - 4)]);
}

/** Postgres' refusal to begin a session, by default with the SQLSTATE that it has for PAM. */
function fatal(message: string, code = "28000"): Buffer {
  const fields = `SFATAL\0VFATAL\0C${code}\0M${message}\0\0`;
  const head = Buffer.from("E\0\0\0\0");
  head.writeUInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, Buffer.from(fields)]);
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest();

/**
 * Why RDS would refuse a token; undefined when it would not. By the rules of
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html for a request whose
 * signature is in the query.
 */
function problemOf(token: string, address: string, username: string): string | undefined {
  const url = URL.parse(`https://${token}`);
  if (!url || !token.startsWith(`${address}/?`)) return "another address";
  const parameters = new Map([...url.searchParams]);
  const { AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = awsCredentials;
  const at = parameters.get("X-Amz-Date") ?? "";
  const scope = [at.slice(0, 8), AWS_REGION, "rds-db", "aws4_request"];
  const expected = {
    Action: "connect",
    DBUser: username,
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": [AWS_ACCESS_KEY_ID, ...scope].join("/"),
    "X-Amz-Expires": "900",
    "X-Amz-Security-Token": AWS_SESSION_TOKEN,
    "X-Amz-SignedHeaders": "host",
  };
  for (const [name, value] of Object.entries(expected)) {
    if (parameters.get(name) !== value) return `${name} is not ${value}`;
  }
  const signedAtMs = Date.parse(at.replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5"));
  if (!(Math.abs(Date.now() - signedAtMs) < 900_000)) return "expired";

  const query = [...parameters]
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`) // None has !, ', (, ) or *.
    .sort()
    .join("&");
  const canonical = ["GET", "/", query, `host:${address}`, "", "host", sha256("")].join("\n");
  const text = ["AWS4-HMAC-SHA256", at, scope.join("/"), sha256(canonical)].join("\n");
  const signingKey = scope.reduce<string | Buffer>((key, part) => hmac(key, part), `AWS4${AWS_SECRET_ACCESS_KEY}`);
  return hmac(signingKey, text).toString("hex") === parameters.get("X-Amz-Signature") ? undefined : "another signature";
}
