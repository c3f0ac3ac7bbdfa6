// npm run serve: production without AWS, in a process with nothing else in it.
import { once } from "node:events";
import { mkdir, readFile, rm, symlink } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, inject, it } from "vitest";
import { signedHeaders } from "../../commands/deliver.ts";
import { freePort } from "../../local/ports.ts";
import { copyProject } from "../helpers/copy.ts";
import { databaseForTest } from "../helpers/database.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { type Program, projectFolder, runProgram, runScript } from "../helpers/processes.ts";
import { newSecret, post } from "../helpers/receiver.ts";
import { httpServer } from "../helpers/servers.ts";

const secret = newSecret();
const empty = { PUSHGATEWAY_URL: "http://127.0.0.1:4", DATABASE_URL: "postgres://u:hunter2@127.0.0.1:4/x" };

/** Starts it on a new database and a free port. */
async function startServing(settings: Record<string, string> = {}, args: string[] = []) {
  const database = await databaseForTest();
  const PORT = String(await freePort());
  const all = {
    ...withoutSettings,
    WEBHOOK_SECRET: secret,
    DATABASE_URL: database.bothUrl,
    PORT,
    STAGE: `serve_${PORT}`,
  };
  const gateway = { PUSHGATEWAY_URL: inject("pushgatewayUrl") };
  const program = runProgram(process.execPath, [...args, "commands/serve.ts"], { ...all, ...gateway, ...settings });
  const url = await program.printed(/"message":"serving","url":"(.*?)"/);
  return { database, program, url, stage: all.STAGE };
}

const end = async ({ child, exited }: Program) => {
  child.kill("SIGTERM");
  return (await exited).exitCode;
};

it("ticks at once, counts a delivery, and answers any other request as on Lambda, but for its health", async () => {
  // The port without a setting, at an address where nothing else has it.
  const { program, url, stage } = await startServing({ HOST: "127.0.0.82", PORT: "" });
  expect(url).toBe("http://127.0.0.82:8080/");
  await expect(fetch(url.replace(":8080", `:${stage.replace("serve_", "")}`))).rejects.toThrow();
  await program.printed(/"message":"tick"/);
  const at = new Date().toISOString();
  const body = JSON.stringify({ type: "reconciler.orphan_refund", timestamp: at });
  expect(await post(url, secret, body)).toMatchObject({ status: 200, json: { status: "recorded", published: true } });
  const shown = await (await fetch(`${inject("pushgatewayUrl")}/metrics`)).text();
  for (const line of [`veza_ledger",stage="${stage}"} 0`, `veza_reconciler",stage="${stage}"} 1`]) {
    expect(shown).toContain(line);
  }
  expect(shown).toMatch(
    new RegExp(`^veza_ledger_sampler_info\\{.*stage="${stage}",version="\\d+\\.\\d+\\.\\d+"\\} 1$`, "m"),
  );
  for (const place of ["", "stack.json", "docs/settings.md", "-/ready", "-/healthy?"]) {
    const answer = await fetch(url + place);
    expect([answer.status, answer.headers.get("allow")], place).toEqual([405, "POST"]);
  }
  const health = await fetch(`${url}-/healthy`);
  expect([health.status, await health.text()]).toEqual([200, ""]);
  expect((await fetch(`${url}-/healthy`, { method: "POST" })).status).toBe(401);
  expect(await end(program)).toBe(0);
});

it("is healthy while its last tick is under 3 minutes old, whatever became of it", async () => {
  // Its clock goes ahead by 3 minutes at a signal.
  const clock = `data:text/javascript,
    const now = performance.now.bind(performance);
    let ahead = 0;
    performance.now = () => now() + ahead;
    process.on("SIGUSR2", () => { ahead += 180_000; });`;
  const { program, url } = await startServing({ PUSHGATEWAY_URL: "http://127.0.0.1:4" }, ["--import", clock]);
  await program.printed(/"message":"tick failed"/);
  const health = async () => (await fetch(`${url}-/healthy`)).status;
  expect(await health()).toBe(200);
  program.child.kill("SIGUSR2");
  await expect.poll(health).toBe(503);
  expect(await end(program)).toBe(0);
});

it("lets the request and the tick that are under way end at SIGTERM, takes no other, and exits with 0", async () => {
  const held: http.ServerResponse[] = [];
  const [tick, rest] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const PUSHGATEWAY_URL = await httpServer(async (request, response) => {
    const isTick = held.push(response) === 1;
    request.resume();
    await (isTick ? tick : rest).promise;
    response.end();
  });
  const { program, url, database } = await startServing({ PUSHGATEWAY_URL });
  await expect.poll(() => held).toHaveLength(1); // The tick's push.
  const answer = fetch(url, { method: "POST", headers: signedHeaders(secret, "last", new Date(), "[]"), body: "[]" });
  await expect.poll(() => held.length).toBeGreaterThan(1); // The delivery's publish.
  const idle = new http.Agent({ keepAlive: true });
  const [kept] = (await once(http.get(`${url}-/healthy`, { agent: idle }), "response")) as [http.IncomingMessage];
  kept.resume();

  program.child.kill("SIGTERM");
  await expect.poll(() => fetch(url).catch(() => "refused")).toBe("refused");
  expect(program.child.exitCode).toBeNull();
  rest.resolve();
  const { status, headers } = await answer;
  expect([status, headers.get("connection")]).toEqual([200, "close"]); // A kept connection would hold up the end.
  await Promise.race([program.exited, sleep(500)]); // It would end now, if it did not wait for the tick.
  tick.resolve();
  const { exitCode, output } = await program.exited;
  expect(exitCode).toBe(0);
  expect(output).toMatch(/"message":"tick"/);
  expect(await database.admin`select from ledger_metrics.deliveries`).toHaveLength(1);
});

it.each([
  ["no secret", { ...empty }, [], 1, "WEBHOOK_SECRET is missing"],
  ["a name for its address", { ...empty, WEBHOOK_SECRET: secret, HOST: "laptop" }, [], 1, "HOST must be an IP address"],
  ["an address elsewhere", { ...empty, WEBHOOK_SECRET: secret, HOST: "192.0.2.1" }, [], 1, "has no address 192.0.2.1"],
  ["an argument", { ...empty, WEBHOOK_SECRET: secret }, ["--every=5"], 2, "usage: npm run serve"],
])("says what is wrong where it has %s, and shows no value", async (_, settings, args, code, message) => {
  const program = runScript("commands/serve.ts", args, { ...withoutSettings, ...settings });
  const { exitCode, output } = await program.exited;
  expect([exitCode, output]).toEqual([code, expect.stringContaining(message)]);
  expect(output).not.toMatch(/hunter2|Error|^ +at /m);
  if (code === 1) expect(output).toMatch(/^.+\n$/);
});

it("says what to do where the port is taken", async () => {
  const { port: PORT } = new URL(await httpServer(() => {}));
  const settings = { ...withoutSettings, ...empty, WEBHOOK_SECRET: secret, PORT };
  const { exitCode, output } = await runScript("commands/serve.ts", [], settings).exited;
  const message = `127.0.0.1:${PORT} is taken: end what listens there, or set PORT to a free port\n`;
  expect([exitCode, output]).toEqual([1, message]);
});

it("needs production packages alone, and so do the commands of its page", async () => {
  const folder = await copyProject();
  const packages = path.join(folder, "node_modules");
  await rm(packages); // A link to all of them.
  const lock = JSON.parse(await readFile("package-lock.json", "utf8")) as { packages: Record<string, { dev?: true }> };
  for (const [place, { dev }] of Object.entries(lock.packages)) {
    if (dev || !/^node_modules\/(@[^/]+\/)?[^/]+$/.test(place)) continue;
    await mkdir(path.dirname(path.join(folder, place)), { recursive: true });
    await symlink(path.join(projectFolder, place), path.join(folder, place));
  }
  for (const name of ["serve", "doctor", "send"]) {
    const program = path.join(folder, `commands/${name}.ts`);
    const { exitCode, output } = await runProgram(
      path.join(packages, `node-${process.platform}-${process.arch}/bin/node`),
      [program, "--help"],
      {},
    ).exited;
    expect([exitCode, output], name).toEqual([0, expect.stringContaining(`usage: npm run ${name}`)]);
  }
});
