import { expect, it } from "vitest";
import { readYaml } from "../../setup/yaml.ts";

const texts = (yaml: string) => Object.fromEntries(readYaml(yaml).map(({ name, value }) => [name, value]));

it.each([
  ["words that YAML has a type for", "a: yes\nb: no\nc: 0123\nd: 8080\ne: ~\nf: 2026-01-31\n"],
  [
    "Windows' ends of lines, and its mark before the text",
    "\uFEFFa: yes\r\nb: no\r\nc: 0123\r\nd: 8080\r\ne: ~\r\nf: 2026-01-31\r\n",
  ],
  [
    "comments, and names in another order",
    "# x: y\nf: 2026-01-31 # no\ne: ~ \nd: 8080\n\nc: 0123\nb: no\na: yes # b: c",
  ],
  ["quotes around names and values", "'a': \"yes\"\n\"b\": 'no'\nc: '0123'\nd: 8080\ne: '~'\nf: \"2026-01-31\"\n"],
  ["a form in one line", "{ a: yes, b: no, c: 0123, d: 8080, e: ~, f: 2026-01-31 }"],
])("takes each value as it is written: %s", (_, yaml) => {
  expect(texts(yaml)).toEqual({ a: "yes", b: "no", c: "0123", d: "8080", e: "~", f: "2026-01-31" });
});

it("takes the characters of passwords and names of places", () => {
  expect(texts('a: p$w#x%23ü@y&z*!\nb: \'it\'\'s: "#1"\'\nc: "\\"\\u00fc\\\\"\nd: Größe/Ä\ne:\n')).toEqual({
    a: "p$w#x%23ü@y&z*!",
    b: 'it\'s: "#1"',
    c: '"ü\\',
    d: "Größe/Ä",
    e: "",
  });
});

it("takes blocks, each name with its line", () => {
  const yaml = "# c\r\nprod:\r\n    a: 1\r\n\r\n    tags: { team: payments, 'cost: centre': 42 }\r\ntest: {}\r\n";
  expect(readYaml(yaml)).toEqual([
    {
      name: "prod",
      line: 2,
      value: [
        { name: "a", line: 3, value: "1" },
        {
          name: "tags",
          line: 5,
          value: [
            { name: "team", line: 5, value: "payments" },
            { name: "cost: centre", line: 5, value: "42" },
          ],
        },
      ],
    },
    { name: "test", line: 6, value: [] },
  ]);
});

it("keeps a name that is there twice, and marks what is no text", () => {
  const entries = readYaml("a: 1\na: 2\nb: [x, y]\nc: &d e\nf: *d\ng: !h i\n");
  expect(entries.map(({ name, value }) => [name, value])).toEqual([
    ["a", "1"],
    ["a", "2"],
    ...["b", "c", "f", "g"].map((name) => [name, undefined]),
  ]);
});

it.each(["", "# nothing\n", "---\n", "\uFEFF\r\n"])("finds no names in %j", (yaml) => {
  expect(readYaml(yaml)).toEqual([]);
});

it.each([
  ["a quote that nobody closes", "prod:\n  a: 'secret\n  b: 1\n", 3, /opened in a line before/],
  ["a quote too many", "a: 1\nb: 'it's secret'\n", 2, /between single quotes/],
  ["a colon in a value", "a: 1\nb: my: secret\n", 2, /between single quotes/],
  ["a value that begins with a sign of YAML's", "a: @secret\n", 1, /between single quotes/],
  ["a tab", "prod:\n\ta: secret\n", 2, /no tab/],
  ["another indentation", "prod:\n  a: 1\n   b: secret\n", 3, /each name behind as many spaces/],
  ["no space behind a colon", "prod:\n  a: 1\n  b:secret\n  c: 2\n", 4, /or the one above .* a space behind the colon/],
  ["a list", "- secret\n", 1, /NAME: value/],
  ["a text", "secret\n", 1, /NAME: value/],
  ["NAME=value", "a=secret\nb=1\n", 1, /NAME: value/],
  ["two documents", "a: 1\n---\nb: secret\n", undefined, /two documents/],
])("tells %s, with its line and without its value", (_, yaml, line, message) => {
  const fault = (() => {
    try {
      return readYaml(yaml);
    } catch (error) {
      return error as Error;
    }
  })();
  expect(fault).toMatchObject({ line, message: expect.stringMatching(message) });
  expect(String(fault)).not.toContain("secret");
});
