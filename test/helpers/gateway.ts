import type http from "node:http";
import { text } from "node:stream/consumers";
import { inject } from "vitest";
import { httpServer } from "./servers.ts";

/**
 * A gateway that shows nothing, after `show`, and has each push answered, with the orphan refunds in it. Resolves to
 * its URL.
 */
export const gatewayTaking = (
  answer: (orphans: number, response: http.ServerResponse, request: http.IncomingMessage) => unknown,
  show: () => unknown = () => {},
): Promise<string> =>
  httpServer(async (request, response) => {
    const body = await text(request).catch(() => undefined);
    if (request.method === "GET") {
      await show();
      response.end();
    } else if (body !== undefined) {
      await answer(Number(/^veza_reconciler_orphan_refunds_total (\d+)$/m.exec(body)?.[1]), response, request);
    }
  });

/** The series of one stage as the gateway shows them now, `name{label="value"}` without job, instance and stage. */
export async function scrape(stage: string, url = inject("pushgatewayUrl")): Promise<Record<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const series: Record<string, number> = {};
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = /^(veza_\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    const pairs = labels.split(",");
    if (!name || !pairs.includes(`stage="${stage}"`)) continue;
    const own = pairs.filter((pair) => !/^(job|instance|stage)=/.test(pair));
    series[own.length ? `${name}{${own.join(",")}}` : name] = Number(value);
  }
  return series;
}

/** Deletes both groups of a stage from the gateway. */
export async function wipe(stage: string): Promise<void> {
  for (const job of ["veza_ledger", "veza_reconciler"]) {
    await fetch(`${inject("pushgatewayUrl")}/metrics/job/${job}/stage/${stage}`, { method: "DELETE" });
  }
}
