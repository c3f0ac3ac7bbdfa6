import type { Ledger } from "./postgres.ts";
import type { Servers } from "./servers.ts";
import type { Stage } from "./stage.ts";
import type { Terminal } from "./terminal.ts";

/** What a command works with. */
export interface Context extends Terminal {
  stage: Stage;
  ledger: Ledger;
  servers: Servers;
}

export interface Command {
  name: string;
  /** How it is called, as help shows it. A word in capitals stands for a value, and CHECK for the name of a check. */
  calls: string[];
  help: string;
  /** Throws a Refusal where nothing, or not all, could be done. */
  run(context: Context, ...words: string[]): Promise<void>;
}
