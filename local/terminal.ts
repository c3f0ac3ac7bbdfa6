import { styleText } from "node:util";
import { checks } from "../lib/checks.ts";

type Fields = Record<string, unknown>;
type Style = Parameters<typeof styleText>[0];

/** Colours as far as standard output shows them; NO_COLOR turns them off. */
const paint = (style: Style, text: string) => text && styleText(style, text, { stream: process.stdout });

/** The ids of the checks in one word each, so that a line has room for all: the last, or the first if that is taken. */
const shortNames: Record<string, string> = {};
for (const { id } of checks) {
  const words = id.split("_");
  const [last = "", first = ""] = [words.at(-1), words[0]];
  shortNames[id] = Object.values(shortNames).includes(last) ? first : last;
}

/**
 * A line of the log for people: time of day, what happened, and its fields in columns. A count above 0 is red, and an
 * unknown count a purple question mark.
 */
export function terminalLine(at: Date, level: "info" | "warn" | "error", message: string, fields: Fields): string {
  const line = (what: string, ...columns: string[]) =>
    [paint("dim", at.toTimeString().slice(0, 8)), what, ...columns].filter(Boolean).join("  ");
  const text = (name: string) => String(fields[name] ?? "");
  switch (message) {
    case "tick": {
      const { duration_seconds: seconds, ...counts } = fields;
      const took = paint("dim", `${Math.round(Number(seconds) * 1000)} ms`);
      return line("tick    ", ...Object.entries(counts).map(([id, count]) => countColumn(id, Number(count))), took);
    }
    case "check failed":
      return line(paint("magenta", "unknown "), paint("magenta", text("check")), text("reason"));
    case "delivery": {
      const isNew = fields.status === "recorded";
      const events = `${text("events").padStart(4)} ${fields.events === 1 ? "event " : "events"}`;
      const published = fields.published ? "published    " : paint("yellow", "not published");
      return line(
        "delivery",
        isNew ? text("status").padEnd(9) : paint("dim", text("status").padEnd(9)),
        events,
        published,
        paint("dim", text("id")),
      );
    }
    case "delivery refused":
      return line(
        paint("yellow", "refused "),
        paint("yellow", text("status")),
        text("error"),
        paint("dim", text("id")),
      );
    default: {
      const { reason = "", ...others } = fields;
      const rest = Object.entries(others).map(([name, value]) => paint("dim", `${name}=${value}`));
      const style = level === "error" ? "red" : level === "warn" ? "yellow" : "reset";
      return line(paint(style, level.padEnd(8)), `${message}${reason && `: ${reason}`}`, ...rest);
    }
  }
}

function countColumn(id: string, count: number): string {
  const name = shortNames[id] ?? id;
  if (count < 0) return paint("magenta", `${name}    ?`);
  const column = `${name} ${String(count).padStart(4)}`;
  return count > 0 ? paint("red", column) : column;
}
