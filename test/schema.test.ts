import { readFile } from "node:fs/promises";
import { createConfig, lint } from "@redocly/openapi-core";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { describe, expect, it } from "vitest";
import { eventsSchema, generatedFiles } from "../commands/schema.ts";
import { parseEvents } from "../lib/events.ts";

const ajv = new Ajv2020();
addFormats.default(ajv);
const matches = ajv.compile(eventsSchema());

it("is what docs/ has; npm run schema writes it", async () => {
  for (const [name, text] of Object.entries(await generatedFiles())) {
    expect(await readFile(`docs/${name}`, "utf8")).toBe(text);
  }
});

it("has an OpenAPI document that a linter finds nothing wrong with", async () => {
  const problems = await lint({
    ref: "docs/openapi.json",
    // Its rules want an answer of 4xx and an operation's id, and a URL for the licence, which this project has none of.
    config: await createConfig({ extends: ["recommended"], rules: { "info-license-strict": "off" } }),
  });
  expect(problems.map(({ ruleId, message }) => `${ruleId}: ${message}`)).toEqual([]);
});

describe("says of a body what the receiver says of it:", () => {
  const timestamp = "2026-01-31T12:00:00Z";
  const orphan = { type: "reconciler.orphan_refund", timestamp };
  const action = (phase: unknown) => ({ type: "reconciler.action", timestamp, data: { phase } });
  const sweep = (seconds: unknown) => ({ type: "reconciler.sweep", timestamp, data: { duration_seconds: seconds } });

  it.each<[string, unknown, boolean]>([
    ["one event", orphan, true],
    ["an empty array", [], true],
    ["1,000 events", Array(1_000).fill(orphan), true],
    ["1,001 events", Array(1_001).fill(orphan), false],
    [
      "all kinds, and fields that are not described",
      [{ ...orphan, note: "x" }, action("stuck_orders"), sweep(1.84)],
      true,
    ],
    ["a phase that there is not", action("orders"), false],
    ["no data", { type: "reconciler.action", timestamp }, false],
    ["a negative duration", sweep(-1), false],
    ["a duration as text", sweep("1.84"), false],
    ["more than a day", sweep(86_401), false],
    ["no type", { timestamp }, false],
    ["another type", { ...orphan, type: "reconciler.orphan" }, false],
    ["a time without a zone", { ...orphan, timestamp: "2026-01-31T12:00:00" }, false],
    ["a day only", { ...orphan, timestamp: "2026-01-31" }, false],
    ["a number", 1, false],
    ["null", null, false],
  ])("%s", (_, body, isValid) => {
    let isTaken = true;
    try {
      parseEvents(JSON.stringify(body));
    } catch {
      isTaken = false;
    }
    expect({ schema: matches(body), receiver: isTaken }).toEqual({ schema: isValid, receiver: isValid });
  });
});
