import { readFile } from "node:fs/promises";
import path from "node:path";
import { Marked } from "marked";

const project = path.join(import.meta.dirname, "..");
const pagePattern = /^\/(?:(?:docs|docs\/runbook|clients\/go)\/)?[\w-]+\.md$/;
const imageTypes: Record<string, string> = { ".png": "image/png", ".svg": "image/svg+xml" };

/** The anchor of a heading, as GitHub and Forgejo make it. */
export const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .trim()
    .replaceAll(" ", "-");

/** A link of a page is one here, too, where it leads to a page or out of the project. Files of code are only named. */
const isLink = (href: string) => /^(https?:|#)|\.md(#.*)?$/.test(href);

const marked = new Marked({
  renderer: {
    heading({ tokens, depth, text }) {
      return `<h${depth} id="${anchorOf(text)}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
    },
    link({ tokens, href }) {
      const text = this.parser.parseInline(tokens);
      return isLink(href) ? `<a href="${encodeURI(href)}">${text}</a>` : text;
    },
  },
});

const style = `
  :root { color-scheme: light dark; --line: light-dark(#d9dde3, #343941); --code: light-dark(#f4f5f7, #1e2127); }
  body { margin: 0 auto; padding: 1rem 1.2rem 3rem; max-width: 52rem; font: 16px/1.5 system-ui, sans-serif; }
  body { overflow-wrap: anywhere; }
  a { color: light-dark(#0b5cad, #6cb6ff); }
  h1 { font-size: 1.5rem; }
  h2 { margin: 1.6rem 0 0.4rem; font-size: 1.15rem; }
  pre { padding: 0.7rem 1rem; overflow-x: auto; background: var(--code); border-radius: 6px; }
  code { font-size: 0.9em; background: var(--code); }
  table { display: block; overflow-x: auto; border-collapse: collapse; overflow-wrap: normal; }
  td, th { padding: 0.3rem 0.7rem; text-align: left; vertical-align: top; border: 1px solid var(--line); }
  img { max-width: 100%; }`;

/**
 * A page of the documentation as HTML, or an image on it, by its path from the project's top folder. Resolves to
 * undefined for any other path.
 */
export async function docsPage(pathname: string): Promise<{ type: string; body: string | Buffer } | undefined> {
  const imageType = /^\/docs\/[\w-]+\.(png|svg)$/.test(pathname) ? imageTypes[path.extname(pathname)] : undefined;
  if (!imageType && !pagePattern.test(pathname)) return undefined;
  const body = await readFile(path.join(project, pathname)).catch(() => undefined);
  if (!body || imageType) return body && { type: imageType ?? "", body };
  const text = body.toString();
  const title = /^# (.*)$/m.exec(text)?.[1] ?? pathname;
  return {
    type: "text/html",
    body: `<!doctype html>
<html lang="en">
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>${title}</title>
<style>${style}</style>
<nav><a href="/">Counts</a> · <a href="/docs/runbook/README.md">Runbook</a></nav>
${await marked.parse(text)}</html>
`,
  };
}
