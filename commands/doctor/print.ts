// How findings are printed: the lines of one finding, and durations in words.
import { visibly } from "../quote.ts";
import type { Finding } from "./finding.ts";

const columns = 80;
const nameColumns = 28;

/** Prints a text of one line or several. */
export type Print = (text: string) => void;

/**
 * A finding about `name`, in lines: what was found and expected, then one line for each step of its remedy. Texts of
 * others are made visible here, and end no line.
 */
export function linesOf(name: string, { mark, found, more = [], expected, remedy }: Finding): string {
  const indent = nameColumns + 3;
  const texts = [found, ...more, ...(expected ? [`expected: ${expected}`] : [])];
  const [first = "", ...others] = texts.flatMap((text) => wrapped(visibly(text), columns - indent));
  return [
    `${mark} ${name.padEnd(nameColumns)} ${first}`,
    ...others.map((line) => " ".repeat(indent) + line),
    // A step stays in a single line: what is pasted must not break.
    ...remedy.map((step) => `  → ${visibly(step)}`),
  ].join("\n");
}

/** A text in lines of at most so many columns, unless a word is longer. */
const wrapped = (text: string, width: number): string[] =>
  text.match(new RegExp(`.{1,${width}}(?: |$)|\\S+`, "g"))?.map((line) => line.trimEnd()) ?? [];

/** A duration in words, in its largest whole unit. */
export function ago(seconds: number): string {
  if (seconds >= 2 * 86_400) return `${Math.floor(seconds / 86_400).toLocaleString("en")} days`;
  if (seconds >= 2 * 3_600) return `${Math.floor(seconds / 3_600)} h`;
  if (seconds >= 120) return `${Math.floor(seconds / 60)} min`;
  return `${Math.round(seconds)} s`;
}
