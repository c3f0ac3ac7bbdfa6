import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { tcpServer } from "./servers.ts";

type Pair = [client: net.Socket, server: net.Socket];

export type TcpProxy = Awaited<ReturnType<typeof startProxy>>;

interface ProxyOptions {
  /** How long each piece of data takes. */
  delayMs?: number;
  /** Looks at what a client sends before the server does: false when the connection is to be reset instead. */
  allow?: (chunk: Buffer) => boolean;
  /** What the client gets of this piece of an answer. */
  answer?: (chunk: Buffer) => Buffer;
}

/** A TCP proxy on 127.0.0.1, in front of a port there, that fails when told; gone with the test. */
export async function startProxy(targetPort: number, options: ProxyOptions = {}) {
  const { delayMs = 0, allow = () => true, answer = (chunk) => chunk } = options;
  const pairs = new Set<Pair>();
  let muted: Promise<void> | undefined;
  let cutNext: (() => void) | undefined;
  const close = (pair: Pair, reset: boolean) => {
    pairs.delete(pair);
    for (const socket of pair) reset ? socket.resetAndDestroy() : socket.destroy();
  };
  const cut = (reset: boolean) => {
    for (const pair of pairs) close(pair, reset);
  };
  const port = await tcpServer(
    (client) => {
      const server = net.connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
      server.on("error", () => {});
      const pair: Pair = [client, server];
      pairs.add(pair);
      for (const [from, to] of [pair, pair.toReversed()] as Pair[]) {
        from.on("close", () => close(pair, false));
        // All pieces wait alike, so they stay in their order.
        from.on("data", async (chunk) => {
          if (from === client && !allow(chunk)) return close(pair, true);
          if (delayMs > 0) await sleep(delayMs);
          if (muted) await muted;
          if (!pairs.has(pair)) return;
          to.write(from === client ? chunk : answer(chunk), () => {
            cutNext?.();
            cutNext = undefined;
          });
        });
      }
    },
    { noDelay: true },
  );
  return {
    port,
    /** Ends all connections now; with `reset`, what a side has not read yet is lost as well. */
    cut,
    /** Passes one more piece of data on, then cuts: the server does what it was asked, and the answer is lost. */
    cutAfterNextPiece(reset: boolean) {
      cutNext = () => cut(reset);
    },
    /** Passes nothing on any more on the connections that there are, and ends none of them. */
    silence() {
      for (const pair of pairs) for (const socket of pair) socket.removeAllListeners("data").resume();
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
