// The YAML of both set-ups: names with texts. Each scalar is the text that is written, so that `no`, 0123 and 8080 stay
// as they are.
import { EVENT_ID, type Event, getScalarValue, parseEvents, YAMLException } from "js-yaml";

/** A name, its line in the file, from 1, and what stands behind it. */
export interface Entry {
  name: string;
  line: number;
  /** A text, which is empty where there is none, or names in turn. Undefined: a list, or what begins with & * or !. */
  value: string | Entry[] | undefined;
}

/** A text is no YAML of names. The message shows nothing of it. */
export class YamlFault extends Error {
  /** The line from 1; undefined for all of the text. */
  readonly line: number | undefined;
  constructor(message: string, line?: number) {
    super(message);
    this.line = line;
  }
}

/** Reads a text of names. Returns them in their order, also those that are there twice. Throws a YamlFault. */
export function readYaml(text: string): Entry[] {
  const events = eventsOf(text);
  let place = 0;
  const peek = () => events[place] as Event;
  const lineAt = (offset: number) => text.slice(0, offset).split("\n").length;

  function value(): Entry["value"] {
    const event = peek();
    place += 1;
    const isMarked = "tagStart" in event && (event.tagStart >= 0 || event.anchorStart >= 0);
    if (event.type === EVENT_ID.SCALAR) return isMarked ? undefined : textOf(event);
    if (event.type === EVENT_ID.MAPPING) return isMarked ? void untilPop(entry) : untilPop(entry);
    if (event.type === EVENT_ID.SEQUENCE) untilPop(value);
    return undefined;
  }

  function untilPop<Item>(item: () => Item): Item[] {
    const items: Item[] = [];
    while (peek().type !== EVENT_ID.POP) items.push(item());
    place += 1;
    return items;
  }

  function entry(): Entry {
    const key = peek();
    const line = lineAt("valueStart" in key ? key.valueStart : 0);
    const name = value();
    if (typeof name !== "string") throw new YamlFault(`has something else than a name: ${rule}`, line);
    return { name, line, value: value() };
  }

  const textOf = (event: Event & { type: typeof EVENT_ID.SCALAR }) =>
    event.valueStart < 0 ? "" : getScalarValue(text, event);

  if (events.length === 0) return [];
  if (events.filter(({ type }) => type === EVENT_ID.DOCUMENT).length > 1) throw new YamlFault("has two documents: ---");
  place += 1; // The document.
  const names = peek().type === EVENT_ID.POP ? [] : value();
  if (Array.isArray(names)) return names;
  if (names === "") return [];
  throw new YamlFault(`has no names: ${rule}`, 1);
}

const rule = "write NAME: value";

function eventsOf(text: string): Event[] {
  try {
    return parseEvents(text, {});
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const line = (error.mark?.line ?? 0) + 1;
    // js-yaml finds a quote that nobody closes where the next name begins. Its other reasons may show part of a value.
    if (/deficient indentation|unexpected end of the (stream|document) within a/.test(error.reason)) {
      throw new YamlFault("is where a quote or a bracket, opened in a line before, is still open", line);
    }
    throw new YamlFault(
      `this line or the one above cannot be read as YAML: ${rule}, each name behind as many spaces, no tab, a space ` +
        "behind the colon, and a value with : # @ % & * ! { [ or a quote in it between single quotes, where ' is ''",
      line,
    );
  }
}
