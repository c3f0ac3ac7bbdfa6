import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { toJsonSchema } from "@valibot/to-json-schema";
import { eventSchema, maxEvents } from "../lib/events.ts";

// npm run schema: generates the JSON Schema of a body, and the OpenAPI document, from the receiver's own schema.

const repository = "https://github.com/veza/veza-ledger-metrics";

/** The schemas of the events and of a body by their names. References to them begin with `path`. */
function namedSchemas(path: string): { Body: object } & Record<string, object> {
  const events = eventSchema.options.map((option) => {
    const { $schema: _, ...schema } = toJsonSchema(option, { typeMode: "input", errorMode: "ignore" });
    return [nameOf(option.entries.type.literal), schema] as const;
  });
  const Event = { oneOf: events.map(([name]) => ({ $ref: `${path}${name}` })) };
  const event = { $ref: `${path}Event` };
  const Body = { anyOf: [event, { type: "array", maxItems: maxEvents, items: event }] };
  return { ...Object.fromEntries(events), Event, Body };
}

/** `reconciler.orphan_refund` becomes ReconcilerOrphanRefund. */
function nameOf(type: string): string {
  return type.replaceAll(/(?:^|[._])(.)/g, (_, letter) => letter.toUpperCase());
}

/** The JSON Schema of a body: one event, or an array of them. */
export function eventsSchema(): object {
  const { Body, ...$defs } = namedSchemas("#/$defs/");
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: `${repository}/blob/main/docs/events.schema.json`,
    title: "Reconciler events",
    description: `One event, or an array of up to ${maxEvents}. Fields that are not described are ignored.`,
    ...Body,
    $defs,
  };
}

/** The OpenAPI document of the receiver. `version` is the project's. */
export function openApi(version: string): object {
  const header = (name: string, description: string, schema: object) => ({
    name,
    in: "header",
    required: true,
    description,
    schema: { type: "string", ...schema },
  });
  const answer = (description: string, schema: string) => ({
    description,
    content: { "application/json": { schema: { $ref: `#/components/schemas/${schema}` } } },
  });
  const stageSchema = {
    type: ["string", "null"],
    description: "The receiver's STAGE, or null. Absent while the request is not known to be signed.",
  };
  return {
    openapi: "3.1.0",
    info: {
      title: "veza-ledger-metrics receiver",
      version,
      description: "Takes the reconciler's events, and counts each once. Every answer is JSON.",
      license: { name: "Proprietary", identifier: "LicenseRef-Veza" },
    },
    servers: [
      {
        url: "https://{id}.lambda-url.{region}.on.aws",
        variables: { id: { default: "example" }, region: { default: "eu-central-1" } },
      },
    ],
    security: [{ standardWebhooks: [] }],
    paths: {
      "/": {
        post: {
          operationId: "postEvents",
          summary: "Record a delivery of events",
          parameters: [
            header("webhook-id", "Names the delivery. A retry has the same id and the same events.", {
              pattern: "^[!-\\-/-~]{1,256}$",
            }),
            header("webhook-timestamp", "Unix time of this attempt, within 300 s of the receiver's clock.", {
              pattern: "^\\d+$",
            }),
          ],
          requestBody: {
            required: true,
            description: "At most 256 KiB.",
            content: { "application/json": { schema: { $ref: "#/components/schemas/Body" } } },
          },
          responses: {
            200: answer("Counted, now or before.", "Recorded"),
            400: answer("Not JSON, or a field is wrong. Nothing was counted.", "Refused"),
            401: answer("Headers missing, wrong signature, or a timestamp out of tolerance.", "Refused"),
            405: answer("Not a POST.", "Refused"),
            409: answer("This id was counted for other events. The events of this body are not counted.", "Refused"),
            413: answer(`Over 256 KiB or ${maxEvents} events.`, "Refused"),
            503: {
              ...answer("Not confirmed. Send it again with the same id.", "Refused"),
              headers: { "retry-after": { description: "In seconds.", schema: { type: "string" } } },
            },
          },
        },
      },
    },
    components: {
      securitySchemes: {
        standardWebhooks: {
          type: "apiKey",
          in: "header",
          name: "webhook-signature",
          description: "Standard Webhooks, symmetric: `v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`.",
        },
      },
      schemas: {
        ...namedSchemas("#/components/schemas/"),
        Recorded: {
          type: "object",
          required: ["status", "published", "stage"],
          properties: {
            status: { enum: ["recorded", "duplicate"] },
            published: {
              type: "boolean",
              description: "False: not by this call; another call or the next tick does it.",
            },
            stage: stageSchema,
          },
        },
        Refused: {
          type: "object",
          required: ["error"],
          properties: { error: { type: "string" }, stage: stageSchema },
        },
      },
    },
  };
}

/** Generates the files; returns their texts by their names in docs/. */
export async function generatedFiles(): Promise<Record<string, string>> {
  const { version } = JSON.parse(await readFile(path.join(import.meta.dirname, "../package.json"), "utf8"));
  const text = (value: object) => `${JSON.stringify(value, null, 2)}\n`;
  return { "events.schema.json": text(eventsSchema()), "openapi.json": text(openApi(version)) };
}

if (import.meta.main) {
  for (const [name, text] of Object.entries(await generatedFiles())) {
    await writeFile(path.join(import.meta.dirname, "../docs", name), text);
  }
}
