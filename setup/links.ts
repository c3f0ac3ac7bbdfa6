// The rules and the dashboard, with the addresses of a set-up in their links.
import { readFileSync } from "node:fs";
import path from "node:path";

/** Reads both from the folder `config`. The addresses are those of the names, with or without a slash at their end. */
export function linked(config: string, { repository, grafana }: { repository: string; grafana: string }) {
  const fill = (file: string) =>
    readFileSync(path.join(config, file), "utf8")
      .replaceAll("https://repository.example", () => repository.replace(/\/+$/, ""))
      .replaceAll("https://grafana.example", () => grafana.replace(/\/+$/, ""));
  return { rules: fill("alertmanager/ledger.yml"), dashboard: fill("grafana/ledger.json") };
}
