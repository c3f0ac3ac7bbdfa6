// setup/drill.ts leaves no overdue row behind, however it ends. prometheus.test.ts runs the drill to the page.
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { runProgram } from "../helpers/processes.ts";
import { httpServer } from "../helpers/servers.ts";

const to = "/metrics/job/veza_ledger/stage/drill Basic dXNlcjp3b3Jk";

/** Starts a drill on a gateway that answers as `answers` says, with what the gateway has seen. */
async function startDrill(answers: (rows: string) => number | undefined = () => 200, settle = "async () => {}") {
  const seen: string[] = [];
  const url = await httpServer(async (request, response) => {
    const [, rows = ""] = / (\d+)\n$/.exec(await text(request)) ?? [];
    seen.push([request.method, request.url, request.headers.authorization, rows].join(" ").trim());
    const status = answers(rows);
    if (status) response.writeHead(status).end();
  });
  const script = `import { drill } from "./setup/drill.ts";
    import { parsePushgateway } from "./lib/settings/parse.ts";
    process.exit(await drill(parsePushgateway(process.env, []), console, ${settle}));`;
  const environment = { PUSHGATEWAY_URL: url.replace("//", "//user:word@") };
  const drill = runProgram(process.execPath, ["--input-type=module", "-e", script], environment, "pipe");
  return { seen, drill };
}

describe.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("%s", (signal) => {
  it("takes the row away", async () => {
    const { seen, drill } = await startDrill();
    await drill.printed(/Press Enter/);
    drill.child.kill(signal);
    expect((await drill.exited).exitCode).toBe(1);
    expect(seen).toEqual([`PUT ${to} 1`, `PUT ${to} 0`, `DELETE ${to}`]);
  });
});

it("takes the row away after Enter, and at the end of its input", async () => {
  for (const input of ["\n", ""]) {
    const { seen, drill } = await startDrill();
    await drill.printed(/Press Enter/);
    drill.child.stdin?.end(input);
    expect((await drill.exited).exitCode).toBe(0);
    expect(seen).toEqual([`PUT ${to} 1`, `PUT ${to} 0`, `DELETE ${to}`]);
  }
});

it("takes a row away that was pushed without an answer, where Ctrl-C ends the wait for one", async () => {
  const { seen, drill } = await startDrill((rows) => (rows === "1" ? undefined : 200));
  await expect.poll(() => seen).toHaveLength(1);
  drill.child.kill("SIGINT");
  expect((await drill.exited).exitCode).toBe(1);
  expect(seen).toEqual([`PUT ${to} 1`, `PUT ${to} 0`]);
});

it("says where a row may be left, on a gateway that refuses", async () => {
  const { drill } = await startDrill((rows) => (rows === "0" ? 503 : 200));
  await drill.printed(/Press Enter/);
  drill.child.stdin?.end("\n");
  const { exitCode, output } = await drill.exited;
  expect(exitCode).toBe(1);
  expect(output).toContain("run the drill again when the gateway answers");
});

it("ends while it waits for the scrape of the 0, and leaves that", async () => {
  const { seen, drill } = await startDrill(undefined, "undefined");
  await drill.printed(/Press Enter/);
  drill.child.stdin?.end("\n");
  await drill.printed(/wait for 2 minutes/);
  drill.child.kill("SIGINT");
  expect((await drill.exited).exitCode).toBe(1);
  expect(seen).toEqual([`PUT ${to} 1`, `PUT ${to} 0`]);
});
