import { readFile } from "node:fs/promises";
import { inject } from "vitest";

/** The file of a host's names as it is shipped. */
export const shippedNames = () => readFile("setup/host/names.yml", "utf8");

/** A file of names in which somebody has written these. `undefined` leaves a line as it is. */
export function filledIn(text: string, names: Record<string, string | undefined>): string {
  let written = text;
  for (const [name, value] of Object.entries(names)) {
    if (value === undefined) continue;
    const line = new RegExp(`^${name}:.*$`, "m");
    if (!line.test(written)) throw new Error(`names.yml has no ${name}`);
    written = written.replace(line, () => `${name}: '${value}'`);
  }
  return written;
}

/** Names that are right, for a reconciler on this host: what is not here is as it is shipped. */
export const rightNames = (database: string) => ({
  database,
  reader: "veza_app",
  admin: "veza_admin",
  gateway: inject("pushgatewayUrl"),
  servers: "",
  name: "",
  certificate: "",
  key: "",
  repository: "https://git.internal/veza/blob/main",
  grafana: "https://grafana.internal",
});
