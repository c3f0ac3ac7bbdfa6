// A real Chromium, as people have it, by the protocol of its developer tools.
import { onTestFinished } from "vitest";
import { findOnPath } from "../../local/find-on-path.ts";
import { skippedBecause } from "./needs.ts";
import { runProgram } from "./processes.ts";
import { newFolder } from "./temporary-folder.ts";

const chromium = await findOnPath(["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]);

/** Options of a test that is skipped where there is no Chromium. */
export const needsChromium = skippedBecause(!chromium && "not on the PATH: chromium");

/** Opens a page, in a browser that ends with the test. */
export async function openPage(url: string, { width = 1280, height = 900 } = {}) {
  const quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
  const profile = [`--user-data-dir=${await newFolder()}`, "--disable-component-update", "--disable-sync"];
  const browser = ["--headless", "--no-sandbox", "--remote-debugging-port=0", `--window-size=${width},${height}`];
  const program = runProgram(chromium ?? "", [...browser, ...quiet, ...profile, url], {});
  const port = new URL(await program.printed(/DevTools listening on (ws:\S+)/)).port;
  const find = async () => {
    const targets = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as Record<string, string>[];
    return targets.find((target) => target.type === "page" && target.url === url)?.webSocketDebuggerUrl;
  };
  let address = await find();
  while (!address) address = await find(); // The test's own limit ends it.
  const socket = new WebSocket(address);
  onTestFinished(() => socket.close());
  await new Promise((resolve) => socket.addEventListener("open", resolve));

  const answers = new Map<number, (answer: { result: unknown }) => void>();
  socket.addEventListener("message", ({ data }) => {
    const answer = JSON.parse(data);
    answers.get(answer.id)?.(answer);
  });
  let last = 0;
  const ask = async <T>(method: string, params: object): Promise<T> => {
    const id = ++last;
    const answered = new Promise<{ result: unknown }>((resolve) => answers.set(id, resolve));
    socket.send(JSON.stringify({ id, method, params }));
    return (await answered).result as T;
  };
  /** The value of an expression, in the page, or what it resolves to. */
  const evaluate = async (expression: string) => {
    type Evaluated = { result: { value: unknown }; exceptionDetails?: object };
    const params = { expression, returnByValue: true, awaitPromise: true };
    const { result, exceptionDetails } = await ask<Evaluated>("Runtime.evaluate", params);
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
    return result.value;
  };
  return {
    evaluate,
    /** Presses or releases the mouse at a place of the window. */
    async mouse(type: "mousePressed" | "mouseReleased", { x, y }: { x: number; y: number }) {
      await ask("Input.dispatchMouseEvent", { type, x, y, button: "left", buttons: 1, clickCount: 1 });
    },
    /** What the page looks like: a PNG. */
    async screenshot(): Promise<Buffer> {
      const { data } = await ask<{ data: string }>("Page.captureScreenshot", {});
      return Buffer.from(data, "base64");
    },
  };
}
