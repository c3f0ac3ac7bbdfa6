import { expect, it } from "vitest";

// One publishes, one waits: a model of what publishTotals and the receiver do, step by step, run in every order that there is.

/** Where the model leaves the rule, to see that it finds what that breaks. */
type Change =
  | ""
  | "reads before it has the lock"
  | "gives up when the lock is held"
  | "gives up when its process is busy";

interface Caller {
  process: number;
  step: "commit" | "join" | "enter" | "look" | "lock" | "read" | "push" | "leave" | "done";
  /** The deliveries that it has read, a bit each. */
  seen: number;
}
interface State {
  callers: Caller[];
  committed: number;
  shown: number;
  /** The callers that hold the lock, or wait for it in this order. */
  queue: number[];
  /** By process: whether a call publishes, and whether one waits for that. */
  busy: boolean[];
  waiting: boolean[];
}

/** Takes the next step of a caller. False when it has none, or has to wait. Throws when an older push follows a newer one. */
function step(state: State, index: number, change: Change): boolean {
  const me = state.callers[index] as Caller;
  const leave = () => {
    state.busy[me.process] = false;
    me.step = "done";
  };
  switch (me.step) {
    case "commit":
      state.committed |= 1 << index;
      me.step = "join";
      return true;
    case "join":
      me.step = state.waiting[me.process] ? "done" : "enter";
      if (change === "gives up when its process is busy" && state.busy[me.process]) me.step = "done";
      if (me.step === "enter") state.waiting[me.process] = true;
      return true;
    case "enter":
      if (state.busy[me.process]) return false;
      state.waiting[me.process] = false;
      state.busy[me.process] = true;
      me.step = "look";
      return true;
    case "look":
      if (change === "reads before it has the lock") me.seen = state.committed;
      me.step = "lock";
      if (state.queue.length > (change === "gives up when the lock is held" ? 0 : 1)) leave();
      return true;
    case "lock":
      state.queue.push(index);
      me.step = "read";
      return true;
    case "read":
      if (state.queue[0] !== index) return false;
      if (change !== "reads before it has the lock") me.seen = state.committed;
      me.step = "push";
      return true;
    case "push":
      if ((me.seen & state.shown) !== state.shown) throw new Error("an older push follows a newer one");
      state.shown = me.seen;
      me.step = "leave";
      return true;
    case "leave":
      state.queue.shift();
      leave();
      return true;
    case "done":
      return false;
  }
}

/** Runs every order of the steps of these callers, given as the process of each. Returns what went wrong, each once. */
function explore(processes: number[], change: Change = ""): string[] {
  const problems = new Set<string>();
  const known = new Set<string>();
  const visit = (text: string) => {
    if (known.has(text)) return;
    known.add(text);
    let isOver = true;
    for (const index of processes.keys()) {
      const state: State = JSON.parse(text);
      try {
        if (!step(state, index, change)) continue;
        visit(JSON.stringify(state));
      } catch (error) {
        problems.add((error as Error).message);
      }
      isOver = false;
    }
    const { callers, committed, shown }: State = JSON.parse(text);
    if (!isOver) return;
    if (callers.some((caller) => caller.step !== "done")) problems.add("callers wait for ever");
    if (shown !== committed) problems.add("numbers are left behind");
  };
  const callers = processes.map((process): Caller => ({ process, step: "commit", seen: 0 }));
  visit(JSON.stringify({ callers, committed: 0, shown: 0, queue: [], busy: [], waiting: [] }));
  return [...problems];
}

it.each([[[0, 0, 0, 0]], [[0, 0, 0, 1]], [[0, 0, 1, 1]], [[0, 1, 2, 3]]])(
  "leaves nothing behind, and pushes nothing older after something newer, whatever the order: processes %j",
  (processes) => {
    expect(explore(processes)).toEqual([]);
  },
);

it.each([
  ["reads before it has the lock", [0, 1], ["an older push follows a newer one"]],
  ["gives up when the lock is held", [0, 1], ["numbers are left behind"]],
  ["gives up when its process is busy", [0, 0], ["numbers are left behind"]],
] as const)("the model would find a publisher that %s", (change, processes, problems) => {
  expect(explore([...processes], change)).toEqual(expect.arrayContaining([...problems]));
});
