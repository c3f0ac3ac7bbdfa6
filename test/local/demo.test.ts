// npm run demo: what each demo shows next to npm start, and that it touches nothing else.
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { startPostgres } from "../../local/postgres.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { type Program, runScript, startProgram } from "../helpers/processes.ts";
import { closedPort, httpServer } from "../helpers/servers.ts";

async function demo(receiverUrl: string | undefined, ...args: string[]) {
  const environment = { ...withoutSettings, RECEIVER_URL: receiverUrl };
  const { exitCode, output } = await runScript("local/demo.ts", args, environment).exited;
  return { exitCode, lines: output.trimEnd().split("\n") };
}

const demos = ["break-refunds", "send-twice", "wipe-gateway"];

it("lists what there is to see, and how it is used when it is called otherwise", async () => {
  const { exitCode, lines } = await demo(undefined);
  expect(exitCode).toBe(0);
  expect(lines.flatMap((line) => /^ {2}([a-z-]+) {2,}\w/.exec(line)?.[1] ?? [])).toEqual(demos);
  expect(await demo(undefined, "--help")).toEqual({ exitCode: 0, lines });
  for (const args of [["dance"], ["send-twice", "now"]]) {
    const typo = `not understood: ${args.join(" ")}`;
    expect(await demo(undefined, ...args)).toEqual({ exitCode: 2, lines: [typo, "", ...lines] });
  }
});

describe("next to a running stack", () => {
  let stack: Program;
  let url: string;
  let gateway: string;

  // Shared by the tests, so that they take no more than a minute.
  beforeAll(async () => {
    stack = startProgram(process.execPath, ["local/start.ts", "--every", "1"], withoutSettings);
    url = await stack.printed(/^Page +(\S+)/m);
    gateway = await stack.printed(/^Pushgateway +(\S+)/m);
    await stack.printed(/"message":"tick"/);
  });
  afterAll(async () => {
    stack.child.kill("SIGINT");
    await stack.exited;
  });

  /** Plays it, and checks the shape of what it says: three lines of a promise, then what was seen. */
  async function play(name: string): Promise<string[]> {
    const { exitCode, lines } = await demo(url, name);
    expect([exitCode, lines.filter((line) => line.length > 80)], lines.join("\n")).toEqual([0, []]);
    expect(lines.slice(0, 3).map((line) => line.split(/ {2,}/)[0])).toEqual(["Happens", "Look", "Proves"]);
    const seen = lines.slice(3).join("\n");
    return seen.replaceAll(/\n {9}/g, " ").split("\n"); // Long lines are folded.
  }

  const count = "\\d+";
  const counts = (...[orders, refunds, orphan]: string[]) =>
    expect.stringMatching(
      new RegExp(`^Seen {5}orders ${orders}, refunds ${refunds}, transfers 1, orphan ${orphan}, reversals 0\\b`),
    );

  it("break-refunds: two counts are unknown and three are right; again: all are", async () => {
    expect(await play("break-refunds")).toEqual([counts(count, "\\?", "\\?"), "Run it again to repair it."]);
    expect(await (await fetch(`${gateway}/metrics`)).text()).toMatch(/\nveza_ledger_orphan_refund_rows\{.*\} -1\n/);
    expect(await play("break-refunds")).toEqual([counts(count, count, count)]);
  });

  it("send-twice: the delivery counts once", async () => {
    const [seen] = await play("send-twice");
    expect(seen).toBe("Seen     recorded, then duplicate; repaired orphan_refunds: 0 before, 1 now");
  });

  it("wipe-gateway: both groups are gone, and come back with what they had", async () => {
    const [seen = ""] = await play("wipe-gateway");
    const numbers = /^Seen {5}filled again after \d+ s\. Repaired rows: (\d+) before, (\d+) now/.exec(seen);
    const [before, after] = [Number(numbers?.[1]), Number(numbers?.[2])];
    expect(before).toBeGreaterThanOrEqual(50); // Of the hour before.
    expect(after).toBeGreaterThanOrEqual(before);
    expect(after - before).toBeLessThan(5); // Sweeps go on.
    const deleted = /^pushgateway_http_requests_total\{code="202",handler="delete",method="delete"\} 2$/m;
    expect(await (await fetch(`${gateway}/metrics`)).text()).toMatch(deleted);
  });
});

describe("touches nothing else:", () => {
  const refuses = async (url: string, name: string, why: RegExp) => {
    const { exitCode, lines } = await demo(url, name);
    expect([exitCode, lines[0]], name).toEqual([1, expect.stringMatching(why)]);
  };

  it.each([
    ["no demo answers", `http://127.0.0.1:${closedPort}/`, /^No demo answers at http:\S+: .*\.$/],
    ["the receiver is elsewhere", "https://receiver.example/", /^RECEIVER_URL names a receiver elsewhere/],
  ])("%s", async (_, url, why) => {
    await refuses(url, "send-twice", why);
  });

  it("what answers is another program", async () => {
    const url = await httpServer((_, response) => response.writeHead(405).end("{}"));
    await refuses(`${url}/`, "send-twice", /^No demo answers at http:\S+: another program does, 405\.$/);
  });

  it("what answers names a PostgreSQL that is no demo's", async () => {
    const server = await startPostgres(0, ["-c", "cluster_name=17/main"]);
    onTestFinished(() => server.stop());
    const url = await httpServer((_, response) => response.end(JSON.stringify({ postgresPort: server.port })));
    for (const name of demos) await refuses(`${url}/`, name, /^The PostgreSQL at port \d+ is no demo of npm start\.$/);
  });
});
