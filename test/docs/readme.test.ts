// The pages: their links, and what they name that is elsewhere: commands, folders and roles.
import { access, readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { expect, it } from "vitest";
import { roles } from "../../commands/declared-rights.ts";
import { answerTimeoutMs } from "../../commands/deliver.ts";
import { maxHttpConnections, maxRequestBytes } from "../../commands/function-url.ts";
import { stopTimeoutMs } from "../../commands/serve.ts";
import { parseEvents } from "../../lib/totals/events.ts";
import manifest from "../../package.json" with { type: "json" };
import lock from "../../package-lock.json" with { type: "json" };

const pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];
for (const name of await readdir("clients/go")) if (name.endsWith(".md")) pages.push(`clients/go/${name}`);
for (const name of await readdir("docs", { recursive: true })) if (name.endsWith(".md")) pages.push(`docs/${name}`);

/** The anchor of a heading, as GitHub and Forgejo make it. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .trim()
    .replaceAll(" ", "-");

async function anchorsIn(file: string): Promise<string[]> {
  const text = (await readFile(file, "utf8")).replaceAll(/^ *```[\s\S]*?^ *```/gm, "");
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => anchorOf(heading));
}

it.each(pages)("%s links to pages and headings that are there", async (page) => {
  for (const [, link = ""] of (await readFile(page, "utf8")).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
    const [file, anchor] = link.split("#");
    const target = file ? path.join(path.dirname(page), file) : page;
    await access(target);
    if (anchor) expect(await anchorsIn(target), `${page}: ${link}`).toContain(anchor);
  }
});

it("docs/events.md has an example that the receiver takes", async () => {
  const example = /```json\n([\s\S]*?)```/.exec(await readFile("docs/events.md", "utf8"))?.[1] ?? "";
  expect(parseEvents(example)).not.toHaveLength(0);
});

it("the README leads to every page, the reference to the runbook's, and the Go client's README to its own", async () => {
  const linked = async (page: string) =>
    [...(await readFile(page, "utf8")).matchAll(/\]\(([^)#\s]+\.md)/g)].map(([, link = ""]) =>
      path.join(path.dirname(page), link),
    );
  const from = ["README.md", "docs/reference.md", "docs/runbook/README.md", "clients/go/README.md"];
  const links = (await Promise.all(from.map(linked))).flat();
  expect(pages.filter((page) => page !== "README.md" && !links.includes(page))).toEqual([]);
});

it.each(pages)("%s names no npm script that is not there", async (page) => {
  const named = [...(await readFile(page, "utf8")).matchAll(/\bnpm run (?:--?\w+ )*([a-z][\w:]*)/g)];
  const gone = named.map(([, name = ""]) => name).filter((name) => !Object.hasOwn(manifest.scripts, name));
  expect(gone).toEqual([]);
});

it("the changelog begins with the version of package.json, which the lock has too", async () => {
  const [, latest] = /^## ([\d.]+) - \d{4}-\d\d-\d\d$/m.exec(await readFile("CHANGELOG.md", "utf8")) ?? [];
  expect([latest, lock.version, lock.packages[""].version]).toEqual(Array(3).fill(manifest.version));
});

it("CONTRIBUTING.md has a row for each folder", async () => {
  const ignored = (await readFile(".gitignore", "utf8")).split("\n").map((name) => name.replaceAll("/", ""));
  const folders = (await readdir(".", { withFileTypes: true }))
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith(".") && !ignored.includes(entry.name))
    .map(({ name }) => name);
  const [, table = ""] = (await readFile("CONTRIBUTING.md", "utf8")).split("## Folders");
  const rows = [...table.matchAll(/^\| `(\w+)\/` \|/gm)].map(([, name]) => name);
  expect(rows.sort()).toEqual(folders.sort());
});

it("docs/settings.md has each role, with its number of connections", async () => {
  const rows = [...(await readFile("docs/settings.md", "utf8")).matchAll(/^\| `(veza_ledger\w*)` \|.*\| (\d+) \|$/gm)];
  expect(Object.fromEntries(rows.map(([, role, connections]) => [role, Number(connections)]))).toEqual(roles);
});

it("the unit waits for longer than a tick takes, and has memory for what connections may hold", async () => {
  const unit = await readFile("config/systemd/veza-ledger-metrics.service", "utf8");
  const numberOf = (name: string) => Number(new RegExp(`^${name}=(\\d+)`, "m").exec(unit)?.[1]);
  const [, tickSeconds] = /timeout: (\d+)/.exec(await readFile("serverless.yml", "utf8")) ?? [];
  expect(stopTimeoutMs).toBeGreaterThan(Number(tickSeconds) * 1_000);
  expect(numberOf("TimeoutStopSec") * 1_000).toBeGreaterThan(stopTimeoutMs);
  expect(numberOf("MemoryMax") * 2 ** 20).toBeGreaterThanOrEqual(2 * maxHttpConnections * maxRequestBytes);
});

it("senders wait for longer than the receiver takes to answer", async () => {
  const [, answerSeconds] = [...(await readFile("serverless.yml", "utf8")).matchAll(/timeout: (\d+)/g)].map(
    ([, s]) => s,
  );
  const client = await readFile("clients/go/ledgermetrics/client.go", "utf8");
  const [, sendSeconds] = /sendTimeout += (\d+) \* time\.Second/.exec(client) ?? [];
  expect(Number(sendSeconds)).toBeGreaterThan(Number(answerSeconds));
  expect(answerTimeoutMs).toBeGreaterThan(Number(answerSeconds) * 1_000);
});
