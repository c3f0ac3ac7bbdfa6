// Reads the names of a set-up: a flat file of a host, or a stage's block in stages.yml. All that is wrong is told at
// once, each with its line, and without its value, which may be a password.
import type { Kind, Texts } from "./kinds.ts";
import { type Entry, readYaml, YamlFault } from "./yaml.ts";

/** Names as they are in a file. */
export interface Names<Name extends string> {
  /** The text of each name: as written, else its default, else empty. */
  texts: Record<Name, string>;
  /** A sentence for each that is wrong. It begins with the file and the line. */
  problems: string[];
  /** Where a name is, as such a sentence begins. */
  where(name: Name): string;
}

export interface How<Name extends string> {
  /** As people call the file. */
  file: string;
  kinds: Record<Name, Kind>;
  /** Of names that the file does not have. A name that is there and empty is empty. */
  defaults?: Partial<Record<NoInfer<Name>, string>>;
  /** What must not be empty. */
  needed?: readonly NoInfer<Name>[];
  /** What a text has while nobody has changed the example. */
  isExample?: RegExp;
}

/** What the examples of both set-ups have: addresses that belong to nobody. */
export const example =
  /(^|[/.@])example\.(com|net|org)\b|\.example(?=[:/]|$)|123456789012|\bOWNER\/NAME\b|^HOST:|\/\/HOST[:/]|0123abcd/;

/** Reads a flat file of names. */
export function readNames<Name extends string>(text: string, how: How<Name>): Names<Name> {
  try {
    return namesIn(readYaml(text), how);
  } catch (error) {
    if (!(error instanceof YamlFault)) throw error;
    const { file } = how;
    const texts = Object.fromEntries(Object.keys(how.kinds).map((name) => [name, ""])) as Record<Name, string>;
    return { texts, problems: [`${at(file, error.line)}: ${error.message}`], where: () => file };
  }
}

/** Checks the entries of a flat file or, with `line`, of a block that begins there. */
export function namesIn<Name extends string>(entries: Entry[], how: How<Name>, line?: number): Names<Name> {
  const { file, kinds, defaults = {}, needed = [], isExample = example } = how;
  const all = Object.keys(kinds) as Name[];
  const found = new Map<string, Entry>();
  const wrong: { line: number; problem: string }[] = [];
  const add = (entry: Entry | undefined, name: string, problem: string) =>
    wrong.push({ line: entry?.line ?? line ?? 0, problem: `${at(file, entry?.line ?? line)}: ${name} ${problem}` });

  for (const entry of entries) {
    const { name, value } = entry;
    const first = found.get(name);
    if (!first) found.set(name, entry);
    if (!Object.hasOwn(kinds, name)) add(entry, name, `is not known: ${likeliest(name, all)}`);
    else if (first) add(entry, name, `is here twice: it is in line ${first.line}, too`);
    else if (typeof value !== "string") add(entry, name, "has to be one text: put it between single quotes");
  }

  const textOf = (name: Name) => {
    const { value } = found.get(name) ?? { value: defaults[name as never] };
    return typeof value === "string" ? value.trim() : "";
  };
  const texts = Object.fromEntries(all.map((name) => [name, textOf(name)])) as Record<Name, string>;
  for (const name of all) {
    const entry = found.get(name);
    if (entry && typeof entry.value !== "string") continue;
    const problem = problemOf(kinds[name], texts[name], texts, needed.includes(name), isExample);
    if (problem) add(entry, name, problem);
  }
  const where = (name: Name) => `${at(file, found.get(name)?.line ?? line)}: ${name}`;
  return { texts, problems: wrong.sort((one, other) => one.line - other.line).map(({ problem }) => problem), where };
}

/** What is wrong with a text, behind its name. */
function problemOf({ words, problem }: Kind, text: string, all: Texts, isNeeded: boolean, isExample: RegExp) {
  if (!text) return isNeeded ? `is empty: write ${words}` : undefined;
  if (/\p{Cc}/u.test(text)) return "has a line break or a tab in it: write it in one line";
  if (text.includes("\uFFFD")) return "has a character that is no UTF-8: store the file as UTF-8";
  if (isExample.test(text)) return `is still an example: write ${words}`;
  return problem(text, all);
}

const at = (file: string, line: number | undefined) => (line ? `${file}:${line}` : file);

/** The known name that begins as a wrong one does, for who has misspelt it. */
function likeliest(name: string, known: string[]): string {
  const like = known.find((each) => each.toLowerCase() === name.toLowerCase() || each.startsWith(name.slice(0, 4)));
  return like ? `is it ${like}?` : `the names are ${known.join(", ")}`;
}
