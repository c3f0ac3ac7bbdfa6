// One connection: how it is dialled, lost and closed, and what becomes of its queries then.

import { readFile } from "node:fs/promises";
import net from "node:net";
import { pipeline } from "node:stream";
import { TLSSocket } from "node:tls";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { connect } from "../../commands/connect.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { dialTimeoutMs } from "../../lib/limits.ts";
import { isConnectionError, isConnectionLost, withDeadline } from "../../lib/postgres/database.ts";
import { beginReading } from "../../lib/postgres/transaction.ts";
import type { DatabaseTarget } from "../../lib/settings/settings.ts";
import { makeCertificates } from "../helpers/certificates.ts";
import { databaseForFile, openFor, targetOf } from "../helpers/database.ts";
import { startProxy } from "../helpers/proxy.ts";
import { fullPort, tcpServer } from "../helpers/servers.ts";

const database = await databaseForFile();

type Tls = DatabaseTarget["tls"];
const targetWith = (tls: Tls, port?: number) => ({ ...targetOf(database.receiverUrl), tls, ...(port && { port }) });
const openWith = (tls: Tls, port?: number) => openFor(targetWith(tls, port));

/** Rejections that nobody can catch would end the process; vitest reports them, and this names them. */
const uncaught: unknown[] = [];
process.on("uncaughtException", (error) => uncaught.push(error));

/** What this rejects with. */
const errorOf = (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => new Error("it was done"),
    (reason) => reason,
  );

const hangUp = (socket: net.Socket) => socket.end();
const reset = (socket: net.Socket) => socket.resetAndDestroy();
const whenAsked = (end: (socket: net.Socket) => unknown) => (socket: net.Socket) =>
  socket.once("data", () => end(socket));

it.each([
  ["EAI_AGAIN, of a name", true, true],
  ["CONNECT_TIMEOUT", true, true],
  ["08006, of a connection", true, true],
  ["08P01, of a pooler", true, true],
  ["57P03, of a server that starts", true, true],
  ["57P05, of an idle session", true, true],
  ["25006, of a server that can only be read", false, true],
  ["0A000, of a server in recovery", false, true],
  ["55P03, of a lock", false, false],
  ["42P01, of a table", false, false],
])("knows by the code %s whether the connection is lost, and whether another may help", (name, isLost, mayHelp) => {
  const error = { code: name.split(",")[0] };
  expect([isConnectionLost(error), isConnectionError(error)]).toEqual([isLost, mayHelp]);
});

it("waits longer for a query than for the start-up, with and without TLS", async () => {
  const seconds = (dialTimeoutMs + 500) / 1000;
  const ask = async (tls: Tls) => {
    const { sql } = await openWith(tls);
    return await sql`select pg_sleep(${seconds}), 1 as one`;
  };
  expect(await Promise.all([ask("off"), ask("unverified")])).toMatchObject([[{ one: 1 }], [{ one: 1 }]]);
});

it("is not lost by a warning, but of a commit whose wait for a standby was cancelled", async () => {
  const { sql, lost } = await openWith("off");
  await sql.unsafe("do $$ begin raise warning 'a database is near wraparound'; end $$");
  expect(lost.aborted).toBe(false);
});

it("is not ended for its age", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"], shouldAdvanceTime: true });
  onTestFinished(() => void vi.useRealTimers());
  const { sql, lost } = await openWith("off");
  await sql`select 1`;
  vi.advanceTimersByTime(24 * 3_600_000);
  await sql`select 1`;
  expect(lost.aborted).toBe(false);
});

it("tells Postgres over TLS that the session ends", async () => {
  const { key, cert } = await makeCertificates("IP:127.0.0.1");
  const files = { key: await readFile(key), cert: await readFile(cert) };
  const { host, port } = targetOf(database.receiverUrl);
  let received = "";
  const front = await tcpServer((socket) =>
    socket.once("data", () => {
      socket.write("S");
      const client = new TLSSocket(socket, { isServer: true, ...files }).setEncoding("latin1");
      const server = net.connect({ host, port });
      pipeline(client, server, client, () => {});
      client.on("data", (text) => (received += text));
    }),
  );
  const connection = await openWith("unverified", front);
  await connection.close();
  await expect.poll(() => received.slice(-5)).toBe("X\0\0\0\x04"); // "Terminate", in Postgres' protocol.
});

// The other tests have most connections without TLS.
describe("with TLS", () => {
  const open = (port?: number) => openWith("unverified", port);

  it("raises nothing that nobody hears when it is closed, right behind a write or at any other moment", async () => {
    for (let round = 0; round < 15; round += 1) {
      const connection = await open();
      const asked = Array.from({ length: 5 }, () => connection.sql`select pg_sleep(0.01), repeat('x', 20000)`);
      const answers = Promise.allSettled(asked);
      if (round % 3 === 1) await new Promise(setImmediate);
      if (round % 3 === 2) await asked[round % 5];
      await connection.close();
      await answers;
    }
    expect(uncaught).toEqual([]);
  });

  it("dials once, rejects by itself and lets go of its socket, whatever the server does", async () => {
    const late = `Postgres: no answer within ${dialTimeoutMs} ms`;
    const cases: [Tls, treat: (socket: net.Socket) => unknown, reason: string | RegExp][] = [
      ["off", () => {}, "CONNECT_TIMEOUT"],
      ["off", whenAsked(hangUp), "Postgres hung up during start-up"],
      ["off", whenAsked(reset), "ECONNRESET"],
      ["unverified", () => {}, late],
      ["unverified", hangUp, "Postgres hung up during start-up"],
      ["unverified", whenAsked((socket) => socket.write("S")), late],
      ["unverified", whenAsked((socket) => socket.end("S")), /hung up|before secure TLS/],
    ];
    const dial = async ([tls, treat, reason]: (typeof cases)[number]) => {
      const sockets: net.Socket[] = [];
      const port = await tcpServer((socket) => {
        sockets.push(socket.resume());
        treat(socket);
      });
      const dialling = connect(async () => targetWith(tls, port), "test", deadlineFor("the deadline", 20_000));
      await expect.soft(dialling, `TLS ${tls}: ${reason}`).rejects.toThrow(reason);
      await expect.poll(() => sockets.map(({ closed }) => closed)).toEqual([true]);
    };
    await Promise.all(cases.map(dial));
  });

  it("rejects what has no answer yet when it is closed, and leaves no session", async () => {
    const connection = await open();
    const [row] = await connection.sql`select pg_backend_pid() as pid`;
    const sleeping = errorOf(
      connection.sql.unsafe(`${beginReading({ schema: "public", timeZone: "UTC" })}select pg_sleep(30)`),
    );
    const waiting = errorOf(connection.sql`select 1`);
    await connection.close();
    expect(await sleeping).toMatchObject({ code: "CONNECTION_DESTROYED" });
    expect(await waiting).toBeInstanceOf(Error);
    expect(connection.lost.aborted).toBe(true);
    const left = () => database.admin`select from pg_stat_activity where pid = ${row?.pid}`;
    await expect.poll(left, { timeout: 30_000 }).toHaveLength(0); // Postgres itself ends it, by beginReading.
  });

  it.each([true, false])("tells at once that its connection is lost, idle or not (reset: %s)", async (isReset) => {
    const { port, cut } = await startProxy(targetOf(database.receiverUrl).port);
    const [idle, busy] = await Promise.all([open(port), open(port)]);
    const [row] = await busy.sql`select pg_backend_pid() as pid`;
    const asking = errorOf(withDeadline(busy, deadlineFor("test", 60_000), (sql) => sql`select pg_sleep(60)`));
    const asked = () => database.admin`select from pg_stat_activity where pid = ${row?.pid} and query ~ 'pg_sleep'`;
    await expect.poll(asked).toHaveLength(1);
    cut(isReset);
    expect(await asking).toSatisfy(isConnectionError); // And no deadline that has passed.
    await expect.poll(() => [idle.lost.aborted, busy.lost.aborted], { timeout: 15_000 }).toEqual([true, true]);
  });

  it("rejects what the driver never settles when the connection is lost", async () => {
    const connection = await open();
    const asking = withDeadline(connection, deadlineFor("test", 60_000), () => new Promise(() => {}));
    await connection.close();
    await expect(asking).rejects.toMatchObject({ code: "CONNECTION_CLOSED" });
  });

  it("survives its loss at any moment of a transaction", async () => {
    const { port, cut } = await startProxy(targetOf(database.receiverUrl).port);
    for (let round = 0; round < 40; round += 1) {
      const connection = await open(port);
      const transactions = withDeadline(connection, deadlineFor("test", 60_000), async (sql) => {
        setTimeout(() => cut(round % 4 < 2), (round % 10) / 2);
        for (;;) {
          await sql.unsafe("begin; select 1");
          if (round % 2) await new Promise(setImmediate);
          await sql.unsafe("commit");
        }
      });
      expect(await errorOf(transactions)).toSatisfy(isConnectionError);
      await expect(connection.sql`select 1`).rejects.toThrow();
    }
    expect(uncaught).toEqual([]);
  });

  it("rejects a query that waits for its turn when the connection is lost", async () => {
    const connection = await open();
    const [row] = await connection.sql`select pg_backend_pid() as pid`;
    const holding = errorOf(withDeadline(connection, deadlineFor("test", 60_000), (sql) => sql`select pg_sleep(20)`));
    // More than postgres.js sends ahead of the answers.
    const waiting = Array.from({ length: 150 }, () => connection.sql`select 1`.catch((error) => error));
    await database.admin`select pg_terminate_backend(${row?.pid})`;
    expect(await holding).toSatisfy(isConnectionError);
    expect(await waiting.at(-1)).toMatchObject({ code: "CONNECTION_DESTROYED" });
  });

  it("ends a query at its deadline, and the connection with it", async () => {
    const connection = await open();
    const asking = withDeadline(connection, deadlineFor("test", 200), (sql) =>
      sql.unsafe("begin; select pg_sleep(20)"),
    );
    await expect(asking).rejects.toThrow("test: no answer within 200 ms");
    expect(connection.lost.aborted).toBe(true);
  });

  it("ends its dialling when the deadline comes before the connection", async () => {
    const target = { ...targetOf(database.receiverUrl), port: await fullPort() };
    const dial = vi.spyOn(net.Socket.prototype, "connect");
    onTestFinished(() => dial.mockRestore());
    const dialling = connect(async () => target, "test", deadlineFor("Postgres", 100));
    await expect(dialling).rejects.toThrow("Postgres: no answer within 100 ms");
    expect(dial.mock.contexts).toEqual([expect.objectContaining({ connecting: false, destroyed: true })]);
  });
});
