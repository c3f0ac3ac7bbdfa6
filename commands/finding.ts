import { errorFields } from "../lib/log.ts";
import { shellWord, sqlName } from "./quote.ts";

/**
 * One step of a remedy, in one line to paste as it is: SQL and the role that runs it, a command, or a sentence. Names
 * that others chose are quoted by quote.ts.
 */
export type Step = string | { as: string; sql: string };

/** What a look has compared. ✓ is well, ! is a doubt that only the reader can settle, ✗ is wrong. */
export interface Finding {
  mark: "✓" | "!" | "✗";
  found: string;
  /** Lines below it. */
  more?: string[];
  /** What should have been found. Absent where all is well, or when an error ended the look. */
  expected?: string;
  /** Steps from `found` to `expected`, in this order. */
  remedy: Step[];
  /** The role lacks a right. */
  isRefused?: true;
}

/** What all looks have found: whether something is wrong or unknown, and the names of those that doubt. */
export interface Verdict {
  isWrong: boolean;
  doubts: string[];
}

/** Steps that a page explains. */
export const view = "let the role read a view instead: docs/what-counts.md";
export const ownedView = "let a role without a login own a view: docs/what-counts.md, Rows that policies hide";
export const correct = `correct these rows and what writes them, or ${view}`;

/** psql's options that run schema.sql and roles.sql for a ledger in these schemas. */
export const schemaOption = (schemas: readonly string[]): string =>
  `-v schema=${shellWord(schemas.map(sqlName).join())}`;

export const again = "run config/postgres/schema.sql and roles.sql again: docs/settings.md";

/** Findings by their mark: what was found, what was expected, and the steps from one to the other. */
export const well = (found: string): Finding => ({ mark: "✓", found, remedy: [] });
const marked =
  (mark: Finding["mark"]) =>
  (found: string, expected: string, ...remedy: Step[]): Finding => ({ mark, found, expected, remedy });
export const doubt = marked("!");
export const wrong = marked("✗");

/** Says what is wrong and how to fix it, for functions that return no finding. */
export class Problem extends Error {
  readonly remedy: Step[];
  constructor(message: string, ...remedy: Step[]) {
    super(message);
    this.remedy = remedy;
  }
}

/** Resolves as `work` does, and turns any error of it into a Problem with this remedy. */
export async function orRemedy<T>(work: PromiseLike<T>, ...remedy: Step[]): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(errorFields(error).reason, ...remedy);
  }
}

/** The finding of a look that an error ended. */
export function findingOf(error: unknown): Finding {
  const remedy = error instanceof Problem ? error.remedy : ["run it again"];
  return { mark: "✗", found: errorFields(error).reason, remedy };
}
