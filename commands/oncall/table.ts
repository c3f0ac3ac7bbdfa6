// Tables of text, that are readable at 80 columns.
import { visibly } from "../quote.ts";

export interface Column {
  name: string;
  /** The type's oid in Postgres; none for a text. */
  type?: number;
}

const numbers = [20, 21, 23, 700, 701, 1700];
const times = [1114, 1184];
const boolean = 16;
/** A text of at most so many columns stays in one line. */
const narrow = 24;

/**
 * A table in lines of at most `width` columns. Where it has no room, texts with blanks are broken into several lines;
 * where that does not help, each row is a list of its own.
 */
export function tableOf(columns: Column[], rows: (string | null)[][], width = Number.POSITIVE_INFINITY): string[] {
  const texts = rows.map((row) =>
    row.map((value, place) => {
      const type = columns[place]?.type ?? 0;
      if (type === boolean && value) return value === "t" ? "yes" : "no";
      return visibly((times.includes(type) ? value?.replace(/\.\d+/, "") : value) ?? "");
    }),
  );
  const names = columns.map(({ name }) => name);
  const longest = (place: number, pattern: RegExp) =>
    Math.max(1, ...[names, ...texts].flatMap((row) => (row[place]?.match(pattern) ?? []).map(({ length }) => length)));
  const widths = names.map((_, place) => longest(place, /.+/g));
  const least = names.map((_, place) => Math.max(longest(place, /\S+/g), Math.min(widths[place] ?? 0, narrow)));
  const gap = "  ";
  const over = () => widths.reduce((sum, each) => sum + each + gap.length, -gap.length) - width;
  while (over() > 0) {
    const roomy = widths.map((each, place) => (each > (least[place] ?? 0) ? each : 0));
    const widest = roomy.indexOf(Math.max(...roomy));
    if (!roomy[widest]) return asLists(names, texts);
    widths[widest] = Math.max(least[widest] ?? 0, (widths[widest] ?? 0) - over());
  }
  const line = (row: string[], pad: (text: string, place: number) => string) => row.map(pad).join(gap).trimEnd();
  const isNumber = (place: number) => numbers.includes(columns[place]?.type ?? 0);
  const padded = (text: string, place: number) =>
    isNumber(place) ? text.padStart(widths[place] ?? 0) : text.padEnd(widths[place] ?? 0);
  const broken = (row: string[]) => {
    const parts = row.map((text, place) => wrapped(text, widths[place] ?? 1));
    const height = Math.max(...parts.map(({ length }) => length));
    return Array.from({ length: height }, (_, index) =>
      line(
        parts.map((part) => part[index] ?? ""),
        padded,
      ),
    );
  };
  return [
    ...broken(names),
    line(
      widths.map((each) => "-".repeat(each)),
      (text) => text,
    ),
    ...texts.flatMap(broken),
  ];
}

function asLists(names: string[], rows: string[][]): string[] {
  const width = Math.max(...names.map(({ length }) => length));
  return rows.flatMap((row, index) => [
    `--- ${index + 1} of ${rows.length}`,
    ...names.map((name, place) => `${name.padEnd(width)}  ${row[place] ?? ""}`.trimEnd()),
  ]);
}

/** A text in lines of at most so many columns, unless a word is longer. */
export const wrapped = (text: string, width: number): string[] =>
  text.match(new RegExp(`.{1,${width}}(?: |$)|\\S+`, "g"))?.map((line) => line.trimEnd()) ?? [""];
