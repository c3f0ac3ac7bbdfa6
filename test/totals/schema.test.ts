// The JSON Schema of a body, which docs/ has for generators of types, against what the receiver takes.

import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { eventsSchema } from "../../generate/events-schema.ts";
import { parseEvents } from "../../lib/totals/events.ts";

const matches = new Ajv2020().compile(eventsSchema());

/** Whether the receiver takes a body. */
function isTaken(body: unknown): boolean {
  try {
    return parseEvents(JSON.stringify(body)).length >= 0;
  } catch {
    return false;
  }
}

describe("says of a body what the receiver says of it:", () => {
  const timestamp = "2026-01-31T12:00:00Z";
  const orphan = { type: "reconciler.orphan_refund", timestamp };

  it.each<[string, unknown, boolean]>([
    ["an empty array", [], true],
    ["1,000 events", Array(1_000).fill(orphan), true],
    ["1,001 events", Array(1_001).fill(orphan), false],
    ["fields that are not described", { ...orphan, note: "x" }, true],
  ])("%s", (_, body, isValid) => {
    expect({ schema: matches(body), receiver: isTaken(body) }).toEqual({ schema: isValid, receiver: isValid });
  });

  const orphanAt = (time: unknown) => ({ ...orphan, timestamp: time });
  const agree = (body: unknown) => expect({ body, is: isTaken(body) }).toEqual({ body, is: matches(body) });
  const settings = { numRuns: 1_000 };

  it("any time in the ways that it is written, when it exists, and the receiver reads that time", () => {
    const pad = (value: number, length = 2) => String(value).padStart(length, "0");
    const number = (min: number, max: number) => fc.integer({ min, max });
    const zones = fc.tuple(fc.constantFrom("+", "-"), number(0, 25), number(0, 62), fc.constantFrom("", ":", "short"));
    fc.assert(
      fc.property(
        fc.tuple(number(0, 9999), number(0, 24), number(0, 60), number(0, 61)),
        fc.oneof(fc.tuple(number(0, 13), number(0, 32)), fc.constant([2, 29] as const)),
        fc.constantFrom("T", "t", " ", "", "_"),
        fc.option(fc.array(number(0, 9), { maxLength: 20 })),
        fc.oneof(fc.constantFrom("Z", "z", ""), zones),
        ([year, hour, minute, second], [month, day], separator, fraction, zone) => {
          const [sign, hours, minutes, form] = typeof zone === "string" ? ["+", 0, 0, zone] : zone;
          const isShort = form === "short";
          const offset = typeof zone === "string" ? zone : `${sign}${pad(hours)}${isShort ? "" : form + pad(minutes)}`;
          const date = `${pad(year, 4)}-${pad(month)}-${pad(day)}`;
          const time = `${pad(hour)}:${pad(minute)}:${pad(second)}`;
          const text = `${date}${separator}${time}${fraction ? `.${fraction.join("")}` : ""}${offset}`;
          const days = new Date(new Date(0).setUTCFullYear(year, month, 0)).getUTCDate();
          const isDate = month >= 1 && month <= 12 && day >= 1 && day <= days;
          const isTime = hour < 24 && minute < 60 && second <= 60 && fraction?.length !== 0;
          const isZone = hours < 24 && (isShort || minutes < 60) && offset !== "";
          const exists = isDate && isTime && isZone && /^[Tt ]$/.test(separator);
          expect({ text, is: matches(orphanAt(text)) }).toEqual({ text, is: exists });
          agree(orphanAt(text));
          if (!exists) return;
          const ahead = (sign === "-" ? -1 : 1) * (hours * 60 + (isShort ? 0 : minutes)) * 60;
          const ms =
            new Date(0).setUTCFullYear(year, month - 1, day) + (hour * 3600 + minute * 60 + second - ahead) * 1000;
          expect(Math.abs((parseEvents(JSON.stringify(orphanAt(text)))[0]?.timestamp ?? 0) - ms)).toBeLessThan(1_001);
        },
      ),
      settings,
    );
  });

  it("any body that is almost one", () => {
    const time = fc.oneof(fc.constantFrom(timestamp, "2026-02-29T12:00:00Z", "12:00", ""), fc.string(), fc.constant(0));
    const duration = fc.oneof(fc.double(), fc.constantFrom(0, -0, 86_400, 86_401, "1", null));
    const phase = fc.constantFrom("stuck_orders", "orphan_refunds", "stuck", 0, null, []);
    const event = fc.record(
      {
        type: fc.constantFrom("reconciler.action", "reconciler.orphan_refund", "reconciler.sweep", "reconciler", 1),
        timestamp: fc.oneof({ weight: 5, arbitrary: fc.constant(timestamp) }, time),
        data: fc.oneof(
          { weight: 5, arbitrary: fc.record({ phase, duration_seconds: duration }, { requiredKeys: [] }) },
          fc.constantFrom(null, [], "", 1),
        ),
      },
      { requiredKeys: [] },
    );
    let taken = 0;
    const count = (body: unknown) => {
      agree(body);
      taken += Number(isTaken(body));
    };
    fc.assert(fc.property(fc.oneof(event, fc.array(event, { maxLength: 3 }), fc.jsonValue()), count), settings);
    expect(taken).toBeGreaterThan(settings.numRuns / 20);
  });
});
