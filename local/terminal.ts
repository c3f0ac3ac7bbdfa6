import { stripVTControlCharacters, styleText } from "node:util";
import { checks } from "../lib/checks.ts";
import type { Level, Line } from "../lib/log.ts";

type Fields = Record<string, unknown>;
type Style = Parameters<typeof styleText>[0];

/** What the narrowest usual terminal shows. */
const maxColumns = 80;

/** Colours as far as standard output shows them; NO_COLOR turns them off. No yellow: on white, nobody can read it. */
const paint = (style: Style, text: string) => text && styleText(style, text, { stream: process.stdout });

/** One word for each check, so that a line has room for all: the last of its id, or the first if that is taken. */
export const shortNames: Record<string, string> = {};
for (const { id } of checks) {
  const words = id.split("_");
  const [last = "", first = ""] = [words.at(-1), words[0]];
  shortNames[id] = Object.values(shortNames).includes(last) ? first : last;
}

/** Joins parts by `gap` into lines of at most 80 columns. Each line but the first is indented by `indent`. */
export function fold(parts: string[], gap: string, indent: string): string {
  let [text = "", ...others] = parts;
  let columns = widthOf(text);
  for (const part of others) {
    const fits = columns + gap.length + widthOf(part) <= maxColumns;
    text += (fits ? gap : `\n${indent}`) + part;
    columns = (fits ? columns + gap.length : indent.length) + widthOf(part);
  }
  return text;
}

const widthOf = (text: string) => stripVTControlCharacters(text).length;

/** A line of the table of what runs where, and what for, in lines of at most 80 columns. */
export function tableLine(name: string, where: string, hint = ""): string {
  return fold([`${name.padEnd(12)} ${where}`, ...[hint].filter(Boolean)], "  ", " ".repeat(13));
}

/** What the red and purple numbers of a tick mean, in lines of at most 80 columns. */
export function legend(): string {
  const width = Math.max(...Object.values(shortNames).map(widthOf)) + 2;
  const meanings = checks.map(({ id, help }) => {
    const [meaning = ""] = help.split(";");
    const name = `${shortNames[id]} `.padEnd(width);
    return fold([name + meaning.split(" ")[0], ...meaning.split(" ").slice(1)], " ", " ".repeat(width));
  });
  const colours = `${paint("red", "Red")} is stuck money; ${paint("magenta", "?")} is unknown, and never means 0:`;
  return [colours, ...meanings].join("\n");
}

/**
 * A line of the functions' log for people: time of day, what happened, and its fields. A count above 0 is red, and an
 * unknown count a purple question mark. What does not fit 80 columns is folded; a delivery's id is cut. Empty for what
 * people need not see.
 */
export function terminalLine(at: Date, level: Level, ...[message, fields]: Line): string {
  switch (message) {
    case "tick": {
      const { duration_seconds: _, ...counts } = fields;
      return columns(at, "tick", ...Object.entries(counts).map(([id, count]) => countColumn(id, count)));
    }
    case "rows counted":
      return ""; // Four lines at each tick would bury the others.
    case "check failed":
      return words(at, paint("magenta", "unknown"), paint("magenta", fields.check), fields.reason);
    case "delivery": {
      const status = fields.status.padEnd(9);
      const known = columns(
        at,
        "delivery",
        fields.status === "recorded" ? status : paint("dim", status),
        `${String(fields.events).padStart(4)} ${fields.events === 1 ? "event " : "events"}`,
        fields.published ? "published    " : paint("bold", "not published"),
      );
      return `${known}  ${paint("dim", cut(fields.id, maxColumns - widthOf(known) - 2))}`;
    }
    case "request refused":
      return words(at, paint("bold", "refused"), paint("bold", String(fields.status)), fields.error);
    case "delivery refused": {
      const id = paint("dim", cut(fields.id ?? "", maxColumns - 11));
      return words(at, paint("bold", "refused"), paint("bold", String(fields.status)), fields.error, id);
    }
    default:
      return plainLine(at, level, message, fields);
  }
}

/** Any line for people: time of day, level, message, reason, and the other fields by their names. */
export function plainLine(at: Date, level: Level, message: string, { reason = "", ...others }: Fields): string {
  const rest = Object.entries(others).map(([name, value]) => paint("dim", `${name}=${value}`));
  const style = level === "error" ? "red" : level === "warn" ? "bold" : "reset";
  return words(at, paint(style, level), `${message}${reason && `: ${reason}`}`, ...rest);
}

/** Prints a line of the functions' log: for people at a terminal, elsewhere as JSON. */
export function printLine(level: Level, ...line: Line): void {
  const [message, fields] = line;
  print(level, message, fields, terminalLine(new Date(), level, ...line));
}

/** Prints what this stack itself has to say: for people at a terminal, elsewhere as JSON. */
export function say(level: Level, message: string, fields: Fields = {}): void {
  print(level, message, fields, plainLine(new Date(), level, message, fields));
}

function print(level: Level, message: string, fields: Fields, forPeople: string): void {
  if (!process.stdout.isTTY || process.env.CI) console[level](JSON.stringify({ level, message, ...fields }));
  else if (forPeople) console.log(forPeople);
}

const timeOf = (at: Date) => paint("dim", at.toTimeString().slice(0, 8));

function columns(at: Date, what: string, ...others: string[]): string {
  return fold([`${timeOf(at)} ${what}`, ...others.filter(Boolean)], "  ", " ".repeat(11));
}

function words(at: Date, what: string, ...others: string[]): string {
  return fold([`${timeOf(at)} ${what} `, ...others.join(" ").split(" ").filter(Boolean)], " ", " ".repeat(11));
}

const cut = (text: string, columns: number) => (text.length > columns ? `${text.slice(0, columns - 1)}…` : text);

function countColumn(id: string, count: number): string {
  const name = shortNames[id] ?? id;
  if (count < 0) return paint("magenta", `${name}   ?`);
  const column = `${name} ${String(count).padStart(3)}`;
  return count > 0 ? paint("red", column) : column;
}
