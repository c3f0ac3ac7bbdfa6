import { stripVTControlCharacters, styleText } from "node:util";
import { checks } from "../lib/checks.ts";

type Fields = Record<string, unknown>;
type Style = Parameters<typeof styleText>[0];

/** What the narrowest usual terminal shows. */
const maxColumns = 80;

/** Colours as far as standard output shows them; NO_COLOR turns them off. */
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
 * A line of the log for people: time of day, what happened, and its fields. A count above 0 is red, and an unknown
 * count a purple question mark. What does not fit 80 columns is folded; a delivery's id is cut.
 */
export function terminalLine(at: Date, level: "info" | "warn" | "error", message: string, fields: Fields): string {
  const time = paint("dim", at.toTimeString().slice(0, 8));
  const columns = (what: string, ...others: string[]) =>
    fold([`${time} ${what}`, ...others.filter(Boolean)], "  ", " ".repeat(11));
  const words = (what: string, ...others: string[]) =>
    fold([`${time} ${what} `, ...others.join(" ").split(" ").filter(Boolean)], " ", " ".repeat(11));
  const text = (name: string) => String(fields[name] ?? "");
  switch (message) {
    case "tick": {
      const { duration_seconds: _, ...counts } = fields;
      return columns("tick", ...Object.entries(counts).map(([id, count]) => countColumn(id, Number(count))));
    }
    case "check failed":
      return words(paint("magenta", "unknown"), paint("magenta", text("check")), text("reason"));
    case "delivery": {
      const status = text("status").padEnd(9);
      const known = columns(
        "delivery",
        fields.status === "recorded" ? status : paint("dim", status),
        `${text("events").padStart(4)} ${fields.events === 1 ? "event " : "events"}`,
        fields.published ? "published    " : paint("yellow", "not published"),
      );
      return `${known}  ${paint("dim", cut(text("id"), maxColumns - widthOf(known) - 2))}`;
    }
    case "request refused":
    case "delivery refused":
      return words(
        paint("yellow", "refused"),
        paint("yellow", text("status")),
        text("error"),
        paint("dim", cut(text("id"), maxColumns - 11)),
      );
    default: {
      const { reason = "", ...others } = fields;
      const rest = Object.entries(others).map(([name, value]) => paint("dim", `${name}=${value}`));
      const style = level === "error" ? "red" : level === "warn" ? "yellow" : "reset";
      return words(paint(style, level), `${message}${reason && `: ${reason}`}`, ...rest);
    }
  }
}

const cut = (text: string, columns: number) => (text.length > columns ? `${text.slice(0, columns - 1)}…` : text);

function countColumn(id: string, count: number): string {
  const name = shortNames[id] ?? id;
  if (count < 0) return paint("magenta", `${name}   ?`);
  const column = `${name} ${String(count).padStart(3)}`;
  return count > 0 ? paint("red", column) : column;
}
