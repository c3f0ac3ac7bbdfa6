import { type Check, type CheckId, checks, stateOf } from "../lib/counts/checks.ts";
import { phases } from "../lib/totals/events.ts";

/** What people need of a check. `npm run generate` makes its alert and its tile from it. */
interface Told {
  /** A page wakes somebody; a ticket waits for office hours. */
  severity: "page" | "ticket";
  /** What the alert calls the rows, before their number. */
  noun: string;
  /** A sentence: what it means that rows count. */
  means: string;
  /** A sentence: what is lost meanwhile. */
  lost: string;
  /** What to ask first, in the alert and on the tile. */
  hint: string;
  /** Columns, besides id and time, by which people find a row at the provider, with their types in its list. */
  shows?: Record<string, "text" | "timestamptz">;
  /** Of its lines in every panel. Green, orange, red and purple are taken: they say how bad something is. */
  color: `#${string}`;
}

/** By the check's id. */
export const told: Record<CheckId, Told> = {
  stuck_orders: {
    severity: "page",
    noun: "Orders stuck in pending",
    means:
      "Hyperswitch knows these payments, and we do not know how they ended: its webhooks no longer arrive, or we " +
      "reject them.",
    lost: "Customers may have paid and see no order.",
    hint: "Do the provider's webhooks still arrive, and do we accept them?",
    shows: { hyperswitch_payment_id: "text" },
    color: "#3274D9",
  },
  orphan_refunds: {
    severity: "page",
    noun: "Orphan refunds",
    means:
      "A process died after it wrote these refunds, and most likely before it asked Hyperswitch to pay them. If it " +
      "did ask, a second request pays twice.",
    lost: "Customers wait for refunds that nobody sends.",
    hint: "The worst of all: most likely, nobody has asked the provider to pay these customers.",
    color: "#E0439B",
  },
  stuck_refunds: {
    severity: "ticket",
    noun: "Refunds stuck in pending",
    means: "Hyperswitch accepted these refunds, and its final webhook never came.",
    lost: "The customer may have the money while we say that it is on its way.",
    hint: "Which final webhooks never came? The provider knows how these refunds ended.",
    shows: { hyperswitch_refund_id: "text" },
    color: "#1FA5B5",
  },
  failed_transfers: {
    severity: "ticket",
    noun: "Transfers to sellers failed for good",
    means: "The retry worker has given up on them: each attempt has failed.",
    lost: "The sellers are not paid until somebody looks.",
    hint: "Nothing tries these again by itself: why did each attempt fail?",
    shows: { created_at: "timestamptz" },
    color: "#A39400",
  },
  pending_reversals: {
    severity: "ticket",
    noun: "Reversals stuck in pending",
    means: "The reversal of these transfers does not end: most likely, the reversal worker is stuck.",
    lost: "Money does not come back from the sellers.",
    hint: "Does the reversal worker run?",
    shows: { created_at: "timestamptz" },
    color: "#808890",
  },
};

/** Whether a phase of the reconciler has the check's name and repairs its rows. */
export const isRepaired = ({ id }: Check): boolean => phases.some((phase) => phase === id);

export const isPage = ({ id }: Check): boolean => told[id].severity === "page";

/** The checks as people read them: pages first. */
export const ranked: readonly Check[] = checks.toSorted((a, b) => Number(isPage(b)) - Number(isPage(a)));

/** The name of a check's own alert: `stuck_orders` → `VezaLedgerStuckOrders`. */
export function alertOf({ id }: { id: string }): string {
  return `VezaLedger${id.replaceAll(/(?:^|_)(.)/g, (_, letter: string) => letter.toUpperCase())}`;
}

/** SQL: what the index of a check is on, after its table. */
export const indexed = (check: Check): string => `(${check.time}) where ${stateOf(check)}`;
