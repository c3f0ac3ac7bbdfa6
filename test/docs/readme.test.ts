// The pages: their links.
import { access, readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { expect, it } from "vitest";
import { parseEvents } from "../../lib/events.ts";

const pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "clients/go/README.md"];
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
