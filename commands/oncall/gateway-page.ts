// What the gateway's /metrics says of a stage.

const linesOf = (page: string, name: string) => page.split("\n").filter((line) => line.startsWith(`${name}{`));
const labelOf = (line: string, label: string) => new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1] ?? "";
const numberOf = (line: string) => Number(line.split(" ").at(-1));
const isOf = (stage: string) => (line: string) => labelOf(line, "stage") === stage;

/** How many seconds ago the last tick of a stage was. Undefined if there is none. */
export function ageOfTick(page: string, stage: string): number | undefined {
  const times = linesOf(page, "veza_ledger_sample_timestamp_seconds").filter(isOf(stage)).map(numberOf);
  return times.length > 0 ? Math.floor(Date.now() / 1_000 - Math.max(...times)) : undefined;
}

/** When these jobs of ours have pushed last for a stage, in Unix seconds. */
export const lastPushes = (page: string, stage: string, jobs = ["veza_ledger", "veza_reconciler"]): number[] =>
  linesOf(page, "push_time_seconds")
    .filter(isOf(stage))
    .filter((line) => jobs.includes(labelOf(line, "job")))
    .map(numberOf);

/** The jobs of others that have pushed metrics with our names: a Pushgateway refuses ours then. */
export function jobsThatPushOurs(page: string): string[] {
  const jobs = page
    .split("\n")
    .filter((line) => line.startsWith("veza_"))
    .map((line) => labelOf(line, "job"));
  return [...new Set(jobs)].filter((job) => job && !/^veza_(ledger|reconciler)$/.test(job)).sort();
}
