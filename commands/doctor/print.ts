// How findings are printed: the lines of one finding, and durations in words.
import { sqlName, visibly } from "../quote.ts";
import type { Finding, Runner, Step } from "./finding.ts";

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
    ...remedy.map((step) => `  → ${visibly(stepLine(step))}`),
  ].join("\n");
}

/** A step, in a single line: what is pasted must not break. psql runs SQL only from its semicolon on. */
const stepLine = (step: Step) => (typeof step === "string" ? step : `as ${nameOf(step.by)}: ${step.sql};`);

/** Who runs a step. A role has its name for SQL, so that no role's name reads like one of the descriptions. */
function nameOf(by: Runner): string {
  if (by === "superuser") return "a superuser";
  if (by === "role creator") return "a login that may create roles";
  return "role" in by ? sqlName(by.role) : `the owner of ${sqlName(by.ownerOfDatabase)}`;
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
