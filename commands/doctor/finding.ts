// What a look finds: a mark, a fact, and the steps of a remedy.
import { errorFields } from "../../lib/log.ts";
import { AnsweredByReplica } from "../../lib/postgres/own-answer.ts";
import { namePrimary } from "./shared-steps.ts";

/**
 * One step of a remedy, in one line to paste as it is: SQL, a command, or a sentence. In SQL and commands, names that
 * others chose are quoted by quote.ts.
 */
export type Step = string;

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
}

/** What all looks have found: whether something is wrong or unknown, and the names of the looks that doubt. */
export interface Verdict {
  isWrong: boolean;
  doubts: string[];
}

/** A finding that all is well. */
export const well = (found: string): Finding => ({ mark: "✓", found, remedy: [] });

/** A finding that only the reader can judge. */
export const doubt = (found: string, expected: string, ...remedy: Step[]): Finding => ({
  mark: "!",
  found,
  expected,
  remedy,
});

/** A finding that something is wrong. */
export const wrong = (found: string, expected: string, ...remedy: Step[]): Finding => ({
  mark: "✗",
  found,
  expected,
  remedy,
});

/** Says what is wrong and how to fix it, for functions that return no finding. */
export class Problem extends Error {
  readonly remedy: Step[];
  constructor(message: string, ...remedy: Step[]) {
    super(message);
    this.remedy = remedy;
  }
}

/** Resolves as `work` does. Throws any error of it as a Problem with this remedy, unless it is a Problem already. */
export async function orRemedy<T>(work: PromiseLike<T>, ...remedy: Step[]): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(errorFields(error).reason, ...remedy);
  }
}

/** The finding of a look that an error ended. */
export function findingOf(error: unknown): Finding {
  const again = error instanceof AnsweredByReplica ? namePrimary : "run it again";
  const remedy = error instanceof Problem ? error.remedy : [again];
  return { mark: "✗", found: errorFields(error).reason, remedy };
}
