import { checks } from "../lib/counts/checks.ts";

/** Matches the counts by name: the rules' own series have the same labels. */
export const countsQuery = `{__name__=~"${checks.map(({ metric }) => metric).join("|")}"}`;

/**
 * Where a Prometheus shows the counts as a graph, and its alerts. Debian's Prometheus only has the classic pages;
 * Prometheus 3 only has the new pages.
 */
export async function countsGraph(prometheusUrl: string): Promise<{ graph: string; alerts: string }> {
  const hasClassicPages = (await fetch(`${prometheusUrl}/classic/alerts`, { signal: AbortSignal.timeout(5_000) })).ok;
  const base = hasClassicPages ? `${prometheusUrl}/classic` : prometheusUrl;
  const query = new URLSearchParams({ "g0.expr": countsQuery, "g0.tab": "0", "g0.range_input": "15m" });
  return { graph: `${base}/graph?${query}`, alerts: `${base}/alerts` };
}
