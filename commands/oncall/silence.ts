// Which alerts are muted, and until when.
import { visibly } from "../quote.ts";
import { checkOf } from "./checks.ts";
import type { Command, Context } from "./command.ts";
import type { Matcher } from "./servers.ts";
import { tableOf } from "./table.ts";
import { Refusal } from "./terminal.ts";

export const equal = (name: string, value: string): Matcher => ({ name, value, isRegex: false, isEqual: true });

/** Silences for so many seconds. */
export const addSilence = (
  { servers }: Context,
  matchers: Matcher[],
  seconds: number,
  comment: string,
): Promise<unknown> => {
  const now = Date.now();
  const [startsAt, endsAt] = [now, now + seconds * 1_000].map((time) => new Date(time).toISOString());
  const body = JSON.stringify({ matchers, comment, startsAt, endsAt, createdBy: "on call" });
  return servers.alertmanager("silences", { method: "POST", headers: { "content-type": "application/json" }, body });
};

export interface Silencing {
  seconds: number;
  matchers: Matcher[];
}

/** What the words after `silence` mean. Refuses what is no span, no alert of ours, or would mute too much. */
export function silencingOf(stage: string, [span = "", given = "", ...more]: string[]): Silencing {
  const alert = given.replace(/^alertname=/, "");
  const [, number, unit = ""] = /^(\d+)([mhd])$/.exec(span) ?? [];
  if (!number || !/^VezaLedger[A-Z]/.test(alert)) {
    throw new Refusal("Nothing is silenced. Say for how long, and which alert: silence 8h VezaLedgerStuckRefunds");
  }
  const labels = more.map((text, index) => {
    const [, name, value] = /^(check|reason|phase|state)=(.+)$/s.exec(text) ?? [];
    if (name === "check") checkOf(value, "Nothing is silenced");
    if (name && value) return equal(name, value);
    if (index > 0 && !text.includes("=")) {
      throw new Refusal(`Nothing is silenced. Quote what has a space: '${more[index - 1]} ${text}'`);
    }
    throw new Refusal(`Nothing is silenced: '${text}' is none of check=, reason=, phase= and state=.`);
  });
  const seconds = Number(number) * ({ m: 60, h: 3_600, d: 86_400 }[unit] ?? 0);
  if (seconds > 0 && alert === "VezaLedgerCheckFailing" && !labels.some(({ name }) => name === "check")) {
    throw new Refusal(`Nothing is silenced. Which check? silence ${span} ${alert} check=stuck_orders`);
  }
  // What these tell of has no stage.
  const ofStage = alert === "VezaLedgerAlertsFail" ? [] : [equal("stage", stage)];
  return { seconds, matchers: [equal("alertname", alert), ...ofStage, ...labels] };
}

const keysOf = (matchers: Matcher[]) =>
  matchers.map(({ name, value, isRegex, isEqual }) => JSON.stringify([name, value, isRegex, isEqual !== false])).sort();

/** Whether a silence is replaced by one of these: it is of the same alerts or, where all end, of a part of them. */
export function isReplaced(theirs: Matcher[], { seconds, matchers }: Silencing): boolean {
  const [old, ours] = [keysOf(theirs), keysOf(matchers)];
  return ours.every((key) => old.includes(key)) && (seconds === 0 || old.length === ours.length);
}

export interface Silence {
  id: string;
  status: { state: "active" | "pending" | "expired" };
  matchers: Matcher[];
  startsAt: string;
  endsAt: string;
  createdBy: string;
  comment: string;
}

/** The silences that have not ended, the one that ends first before the others. */
export async function silencesNow(servers: Context["servers"]): Promise<Silence[]> {
  const all = await servers.alertmanager<Silence[]>("silences");
  return all.filter(({ status }) => status.state !== "expired").sort((one, two) => (one.endsAt < two.endsAt ? -1 : 1));
}

/** Whether an alert with these labels has what a matcher asks for, as Alertmanager decides it. */
function matches({ name, value, isRegex, isEqual = true }: Matcher, labels: Record<string, string>): boolean {
  const label = labels[name] ?? "";
  return (isRegex ? isWhole(value, label) : label === value) === isEqual;
}

/** Whether a pattern describes the whole of a text. One that only Go understands describes none. */
function isWhole(pattern: string, text: string): boolean {
  try {
    return new RegExp(`^(?:${pattern})$`, "s").test(text);
  } catch {
    return false;
  }
}

/** When the last of the silences ends that mute an alert with these labels now. Undefined where none does. */
export const silencedUntil = (labels: Record<string, string>, silences: Silence[]): string | undefined =>
  silences
    .filter(({ status, matchers }) => status.state === "active" && matchers.every((each) => matches(each, labels)))
    .at(-1)?.endsAt;

/** Whether a silence may mute an alert of this service and stage. */
export function isOurs({ matchers }: Silence, stage: string): boolean {
  const of = (label: string) => matchers.filter(({ name }) => name === label);
  const named = of("alertname");
  const isNamed = named.every(
    (each) => each.value.includes("VezaLedger") || matches(each, { alertname: "VezaLedgerStuckOrders" }),
  );
  const isOfStage = of("stage").every((each) => ["", stage].some((name) => matches(each, { stage: name })));
  return isNamed && isOfStage && (named.length > 0 || of("stage").length > 0);
}

/** A time such as 2026-01-31 12:00 Europe/Paris. */
export function whenOf(time: string, timeZone: string): string {
  const format = { dateStyle: "short", timeStyle: "short" } as const;
  return `${new Intl.DateTimeFormat("sv-SE", { ...format, timeZone }).format(new Date(time))} ${timeZone}`;
}

/** A matcher as Alertmanager writes it, without quotes. */
const textOf = ({ name, value, isRegex, isEqual = true }: Matcher) =>
  `${name}${isEqual ? (isRegex ? "=~" : "=") : isRegex ? "!~" : "!="}${value}`;

async function silence(context: Context, ...words: string[]): Promise<void> {
  const { print, servers, stage } = context;
  const silencing = silencingOf(stage.name, words);
  const { seconds, matchers } = silencing;
  const all = await silencesNow(servers).catch((error: Refusal) => {
    throw new Refusal(...error.lines, "No silence is changed.");
  });
  // First the new one: if that fails, the earlier ones go on.
  if (seconds > 0) await addSilence(context, matchers, seconds, "by on call");
  const ended = all.filter(({ matchers }) => isReplaced(matchers, silencing));
  for (const { id } of ended) {
    await servers.alertmanager(`silence/${id}`, { method: "DELETE" });
  }
  const hidden = (
    await servers.alertmanager<{ labels: Record<string, string> }[]>("alerts?active=false&inhibited=false")
  )
    .filter(({ labels }) => matchers.every((each) => matches(each, labels)))
    .map(({ labels }) => visibly(`  ${labels.alertname} ${labels.check ?? labels.reason ?? ""}`));
  if (seconds > 0) {
    const [hides = "  nothing"] = hidden;
    print(`Silenced for ${words[0]}. Of what fires now, this hides:`, hides, ...hidden.slice(1));
  } else if (hidden.length > 0) print("Still silenced, by a silence that was made elsewhere:", ...hidden);
  else if (ended.length > 0) print(`Ended: ${ended.length === 1 ? "one silence" : `${ended.length} silences`}.`);
  else print("Nothing was silenced: no silence is of these alerts.");
}

async function listSilences({ columns, print, printAsIs, servers, stage }: Context): Promise<void> {
  const ours = (await silencesNow(servers)).filter((each) => isOurs(each, stage.name));
  if (ours.length === 0) return print("Nothing of this stage is silenced.");
  const rows = ours.map(({ endsAt, matchers, createdBy, comment }) => [
    whenOf(endsAt, stage.timeZone),
    matchers
      .filter(({ name }) => name !== "stage")
      .map(textOf)
      .join(" "),
    `${createdBy}: ${comment}`,
  ]);
  printAsIs(...tableOf([{ name: "until" }, { name: "silenced" }, { name: "by whom, and why" }], rows, columns));
}

export const silenceCommands: Command[] = [
  {
    name: "silence",
    calls: ["silence SPAN ALERT [check=CHECK] [reason=REASON]"],
    help: "Mutes one alert of this stage, for such as 8h or 2d. 0h ends it.",
    run: silence,
  },
  {
    name: "silences",
    calls: ["silences"],
    help: "What is silenced of this stage, until when, by whom, and why.",
    run: listSilences,
  },
];
