// npm start: what a real demo shows and refuses, both promises by its buttons, and its end.
import { execFile } from "node:child_process";
import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { checks } from "../../lib/counts/checks.ts";
import type { Alerts } from "../../local/alerts.ts";
import type { Stack } from "../../local/page.ts";
import { freePort } from "../../local/ports.ts";
import { needsChromium, openPage } from "../helpers/browser.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { programsNaming, runScript, startProgram } from "../helpers/processes.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

/** Starts a demo in a temporary folder of its own. `leftovers` says which files and programs are left of it. */
async function startDemo(settings: Record<string, string | undefined> = {}) {
  const folder = await newFolder();
  await chmod(folder, 0o1777); // Where the demo runs as root, PostgreSQL has another user.
  const environment = { ...withoutSettings, ...settings, TMPDIR: folder };
  const demo = startProgram(process.execPath, ["local/start.ts", "--every", "1"], environment);
  return {
    ...demo,
    folder,
    /** The address that it has printed of one of its parts. */
    address: (name: string) => demo.printed(new RegExp(`^${name} +(\\S+)`, "m")),
    leftovers: async () => [...(await readdir(folder)), ...(await programsNaming(folder))],
  };
}

describe("a demo, in a shell that has settings of another stage", () => {
  let demo: Awaited<ReturnType<typeof startDemo>>;
  let page: string;

  beforeAll(async () => {
    const PORT = String(await freePort()); // Not the usual port.
    demo = await startDemo({ PORT, STAGE: "prod", PUSHGATEWAY_TOKEN: "token", CA_CERTIFICATES: "none" });
    page = await demo.address("Page");
    await demo.printed(/"message":"tick"/);
  });
  afterAll(async () => {
    demo.child.kill("SIGKILL"); // Where its last test has not been run.
    await demo.exited;
  });

  const stack = async () => {
    const answer = await fetch(new URL("stack.json", page));
    return (await answer.json()) as Stack & { alerts: Alerts };
  };
  const counts = async () => (await stack()).tick?.counts ?? {};
  const press = async (name: string) => {
    const headers = { origin: new URL(page).origin };
    return (await fetch(new URL(`press/${name}`, page), { method: "POST", headers })).text();
  };

  it("prints what the examples need in other terminals, where a usual port is taken", async () => {
    const line = await demo.printed(/^First paste +(export .*') {2}/m);
    const { stdout } = await promisify(execFile)("sh", ["-c", `${line}; echo "$RECEIVER_URL $DEMO_DATABASE_URL"`]);
    const [receiverUrl, databaseUrl = ""] = stdout.trim().split(" ");
    expect(receiverUrl).toBe(page);
    expect(URL.parse(databaseUrl)?.port).toBe(URL.parse(await demo.address("Postgres"))?.port);
    expect(databaseUrl).toMatch(
      /^postgres:[/][/]demo_reconciler:local@127[.]0[.]0[.]1:\d+[/]postgres[?]sslmode=disable$/,
    );
    const sql = postgres(databaseUrl, { max: 1 });
    onTestFinished(() => sql.end());
    await sql`update orders set status = status, updated_at = now() where id = 1`;
    await sql`insert into ledger_outbox.deliveries (id, body) values ('mine', '[]')`;
    await sql`update ledger_outbox.deliveries set sent_at = now() where id = 'mine'`;
    await sql`delete from ledger_outbox.deliveries where id = 'mine'`;
  });

  it("lets nobody run a program by a login that is known: the superuser's password is random", async () => {
    const { host } = new URL(await demo.address("Postgres"));
    const run = async (login: string) => {
      const sql = postgres(`postgres://${login}@${host}/postgres`, { max: 1 });
      return await sql`copy (select 1) to program 'true'`.finally(() => sql.end());
    };
    await expect(run("postgres:postgres")).rejects.toThrow("password authentication failed");
    for (const login of ["veza_ledger", "veza_ledger_oncall", "demo_reconciler"]) {
      await expect(run(`${login}:local`), login).rejects.toThrow("permission denied");
    }
    expect(demo.output()).not.toContain("//postgres:");
  });

  it("shows counts and money of the demo ledger, and what is about to fire", async () => {
    await expect.poll(counts).toMatchObject({ failed_transfers: 1, orphan_refunds: 2, pending_reversals: 0 });
    await expect.poll(async () => JSON.stringify((await stack()).alerts)).toContain('"VezaLedgerOrphanRefunds"');
    await expect.poll(async () => (await stack()).tick?.evidence.amounts.failed_transfers).toHaveLength(1);
    await expect
      .poll(async () => (await stack()).tick?.rows)
      .toMatchObject({
        failed_transfers: [{ id: "2001", fires: true, isAccepted: false }],
        orphan_refunds: [{ fires: true }, { fires: false }],
        pending_reversals: [],
      });
    for (const link of Object.values((await stack()).links)) expect((await fetch(link)).status).toBe(200);
    const oncall = postgres(await demo.address("Postgres"), { max: 1 });
    expect(await oncall`select from public.orders where amount_cents > 0 limit 1`).toHaveLength(1);
    await oncall.end();
  });

  it("is counted by the README's line for one's own ledger", async () => {
    expect(await readFile("README.md", "utf8")).toContain("npm run doctor -- postgres://");
    const { output } = await runScript("commands/doctor.ts", [await demo.address("Postgres")], withoutSettings).exited;
    expect(output).toMatch(/^[!✓] stuck_orders +\d+/m);
  });

  it("sends its alerts to nobody: an Alertmanager at the usual port may page people", async () => {
    const answer = await fetch(new URL("/api/v1/status/config", await demo.address("Prometheus")));
    const { data } = (await answer.json()) as { data: { yaml: string } };
    const [, alerting = ""] = /^alerting:\n([\s\S]*?)^\w/m.exec(data.yaml) ?? [];
    expect(alerting).toMatch(/^ +- targets: \[\]\n$/m);
    expect(data.yaml).toMatch(/job_name: alertmanager\n[\s\S]*targets: \[\]\n$/);
  });

  it("keeps both promises by its buttons: two counts are unknown; sent twice, counted once", async () => {
    const known = async () => Object.entries(await counts()).flatMap(([id, count]) => (count >= 0 ? id : []));
    expect(await press("rename")).toMatch(/is renamed/);
    const others = checks.filter(({ table }) => table !== "refunds");
    await expect.poll(known).toEqual(others.map(({ id }) => id));
    expect((await stack()).tick?.reasons.orphan_refunds).toMatch(/column .* does not exist/);
    expect(await press("rename")).toMatch(/has its name again/);
    await expect.poll(known).toHaveLength(checks.length);
    expect(await press("twice")).toMatch(/: recorded, then duplicate\. Repaired orphan_refunds: 0 before, 1 now\.$/);
  });

  it("shows in a browser what its parts say", needsChromium, async () => {
    const { evaluate } = await openPage(page);
    await expect.poll(() => evaluate("document.querySelectorAll('article li').length")).toBeGreaterThan(0);
    const stdout = await evaluate("document.body.innerHTML");
    expect(stdout).toMatch(/<div class="count red">1 <small>\d+\.\d\d(&nbsp;|\s)EUR<\/small><\/div>/);
    expect(stdout).toMatch(/<div class="count green">0<\/div>/);
    expect(stdout).toMatch(/<b class="orange">fires in \d+ (s|min)<\/b>/);
    expect(stdout).toMatch(/<li class="red"[^>]*>2001, 3 days: <span class="whole">overdue<\/span><\/li>/);
    expect(stdout).toMatch(/<div class="count green">0<\/div><div class="dim">newest row \d+ (s|min) old<\/div>/);
    expect(stdout).toContain(`<a href="${page}docs/runbook/VezaLedgerOrphanRefunds.md">VezaLedgerOrphanRefunds</a>`);
  });

  it("ends at Ctrl-C with all that it has started, and leaves no file", async () => {
    const running = /start\.ts|pushgateway --web|prometheus --web|postgres -D/;
    expect(new Set((await demo.leftovers()).flatMap((line) => running.exec(line) ?? [])).size).toBe(4);
    demo.child.kill("SIGINT");
    const { exitCode, output } = await demo.exited;
    expect([exitCode, output.split("\n").at(-2)]).toEqual([0, "Stopped. Nothing is left running."]);
    expect(await demo.leftovers()).toEqual([]);
  });
});

it("goes on without Prometheus where that does not start", async () => {
  const folder = await newFolder();
  await writeFile(path.join(folder, "prometheus"), "#!/bin/sh\necho no space left >&2\nexit 1\n", { mode: 0o755 });
  const demo = await startDemo({ PATH: `${folder}:${process.env.PATH}` });
  await demo.printed(/"message":"tick"/);
  expect(demo.output()).toMatch(/^Prometheus +not started: prometheus did not start:\nno space left/m);
  demo.child.kill("SIGINT");
  await demo.exited;
});

it("takes no ledger and no gateway of yours: it names npm run serve, and shows no setting", async () => {
  const settings = { DATABASE_URL: "postgres://u:hunter2@127.0.0.1/x", PUSHGATEWAY_URL: "http://hunter2" };
  const { exitCode, output } = await runScript("local/start.ts", [], { ...withoutSettings, ...settings }).exited;
  expect(exitCode).toBe(2);
  expect(output).toMatch(/^DATABASE_URL, PUSHGATEWAY_URL set: npm start is a demo, .* `npm run serve` .+\n$/);
  expect(output).not.toContain("hunter2");
});
