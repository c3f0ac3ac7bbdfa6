// The file of a stage, as people on call have it.
import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { fileDone, fileWith, runFile, writeOnCall } from "../helpers/on-call-file.ts";
import { programsNaming } from "../helpers/processes.ts";
import { httpServer, tcpServer } from "../helpers/servers.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

it("has no password, and asks for the gateway's, which no list of processes shows", async () => {
  const password = "p'a$s%w\"o";
  const seen: unknown[] = [];
  const gateway = await httpServer(async ({ headers }, response) => {
    seen.push(headers.authorization, await programsNaming(password).then((names) => names.join().includes(password)));
    response.end("OK\n");
  });
  const file = await fileWith({
    PUSHGATEWAY_URL: gateway.replace("//", `//somebody:${encodeURIComponent(password)}@`),
    DATABASE_URL: `postgres://veza_ledger_oncall:${password}@127.0.0.1:9/x`,
  });
  const basic = `Basic ${Buffer.from(`somebody:${password}`).toString("base64")}`;
  expect(seen.splice(0), "when it is written").toEqual([basic, false]);
  const own = (await readFile(file, "utf8")).split("\n").slice(0, 20).join("\n");
  expect(own).not.toMatch(/p'a|p%27a|p\\'a/);
  expect(await fileDone(file, "gateway /-/ready", { secrets: ["oncall", "key", password] })).toBe("OK\n");
  expect(seen).toEqual([basic, false]);
});

it("is written with a line for each address that does not answer, and kept as it is where it cannot be written", async () => {
  const file = path.join(await newFolder(), "on-call.mjs");
  const { exitCode, output } = await writeOnCall(file, {});
  expect([exitCode, output.match(/✗ [\w ]+/g)]).toEqual([
    2,
    [
      "✗ Prometheus does not answer",
      "✗ Alertmanager does not answer",
      "✗ The gateway does not answer",
      "✗ Hyperswitch does not answer",
      "✗ Postgres",
    ],
  ]);
  const { mtimeMs } = await stat(file);
  expect(await writeOnCall(file, { DATABASE_URL: "postgres://postgres@127.0.0.1/x" })).toMatchObject({ exitCode: 1 });
  const into = path.join(await newFolder(), "none", "on-call.mjs");
  expect(await writeOnCall(into, {})).toMatchObject({ exitCode: 1 });
  expect((await stat(file)).mtimeMs).toBe(mtimeMs);
});

it("goes by the proxies of the environment, but to hosts in NO_PROXY, on a Node that can", async () => {
  const asked: unknown[] = [];
  const answer = JSON.stringify({ data: { result: [{ metric: {}, value: [0, "7"] }] } });
  const proxy = await tcpServer((socket) => {
    socket.on("data", (chunk) => {
      const [line = ""] = String(chunk).split("\r\n");
      asked.push(line);
      const body = line.startsWith("CONNECT") ? "" : `content-length: ${answer.length}\r\n\r\n${answer}`;
      socket.write(`HTTP/1.1 200 OK\r\n${body || "\r\n"}`);
    });
  });
  const direct = await httpServer((_, response) => void response.end(answer));
  const file = await fileWith({ PROMETHEUS_URL: "http://prometheus.invalid:9090" });
  const near = await fileWith({ PROMETHEUS_URL: direct });
  vi.stubEnv("HTTP_PROXY", `http://127.0.0.1:${proxy}`);
  vi.stubEnv("NO_PROXY", "127.0.0.1");
  onTestFinished(() => void vi.unstubAllEnvs());
  expect(await fileDone(file, "query x", {}, process.execPath)).toBe("7  {}\n");
  expect(asked).toEqual(["CONNECT prometheus.invalid:9090 HTTP/1.1", "GET /api/v1/query?query=x HTTP/1.1"]);
  expect(await fileDone(near, "query x", {}, process.execPath)).toBe("7  {}\n");
  expect(asked).toHaveLength(2);
  vi.stubEnv("HTTP_PROXY", "http://127.0.0.1:9");
  const { output } = await runFile(file, "query x", {}, process.execPath);
  expect(output).toMatch(/127\.0\.0\.1:9.*\nHTTPS_PROXY is used\. If this server/);
});
