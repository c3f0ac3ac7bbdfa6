import { toJsonSchema } from "@valibot/to-json-schema";
import { maxEvents } from "../lib/limits.ts";
import { eventSchema } from "../lib/totals/events.ts";

// docs/events.schema.json: the JSON Schema of a body, from the receiver's own schema.

/** `reconciler.orphan_refund` becomes ReconcilerOrphanRefund. */
function nameOf(type: string): string {
  return type.replaceAll(/(?:^|[._])(.)/g, (_, letter) => letter.toUpperCase());
}

/** The JSON Schema of a body: one event, or an array of them. */
export function eventsSchema(): object {
  const events = eventSchema.options.map((option) => {
    const { $schema: _, ...schema } = toJsonSchema(option, { typeMode: "input", errorMode: "ignore" });
    return [nameOf(option.entries.type.literal), schema] as const;
  });
  const event = { $ref: "#/$defs/Event" };
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: "https://github.com/veza/veza-ledger-metrics/blob/main/docs/events.schema.json",
    title: "Reconciler events",
    description: `One event, or an array of up to ${maxEvents}. Fields that are not described are ignored.`,
    anyOf: [event, { type: "array", maxItems: maxEvents, items: event }],
    $defs: {
      ...Object.fromEntries(events),
      Event: { oneOf: events.map(([name]) => ({ $ref: `#/$defs/${name}` })) },
    },
  };
}
