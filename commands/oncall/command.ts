import type { Ledger } from "./postgres.ts";
import type { Servers } from "./servers.ts";
import type { Stage } from "./stage.ts";
import type { Terminal } from "./terminal.ts";

/** What a person has typed, for the commands that come next. None of it is in a file. */
export interface Secrets {
  /** The password of veza_ledger_oncall. */
  ledger?: string;
  /** The gateway's password or token. Empty: this person has none. */
  gateway?: string;
  /** The API key of Hyperswitch. */
  hyperswitch?: string;
}

/** What a command works with, until it ends or somebody presses Ctrl-C. */
export interface Context extends Terminal {
  stage: Stage;
  secrets: Secrets;
  ledger: Ledger;
  servers: Servers;
  /** Aborts at Ctrl-C. */
  signal: AbortSignal;
}

export interface Command {
  name: string;
  /** How it is called, as help shows it. A word in capitals stands for a value, and CHECK for the name of a check. */
  calls: string[];
  help: string;
  /** Throws a Refusal where nothing, or not all, could be done. */
  run(context: Context, ...words: string[]): Promise<void>;
}
