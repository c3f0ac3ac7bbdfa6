/** What fires, or is about to, and how much of it is known. */
export interface Alerts {
  /** What is wrong with Prometheus or its rules, so that a silence proves nothing. */
  problem?: string;
  /** Pages first; of these, firing ones, then those that fire soonest. */
  alerts: {
    state: "firing" | "pending";
    /** Since it fires, or until it does. */
    seconds: number;
    name: string;
    severity: string;
    summary: string;
    runbook: string;
  }[];
}

interface Rule {
  name: string;
  health: string;
  /** Seconds that it has to hold. */
  duration: number;
  alerts: { state: string; activeAt: string; labels: Record<string, string>; annotations: Record<string, string> }[];
}

/**
 * Reads what fires in this Prometheus, or is about to. Leaves out the severity `none`, which tells people nothing.
 */
export async function readAlerts(prometheus: string | undefined): Promise<Alerts> {
  if (!prometheus) return { problem: "No Prometheus runs yet, or the output of npm start says why.", alerts: [] };
  let rules: Rule[];
  try {
    const url = `${prometheus}/api/v1/rules?type=alert`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    const { data } = (await answer.json()) as { data: { groups: { rules: Rule[] }[] } };
    rules = data.groups.flatMap((group) => group.rules);
  } catch {
    return { problem: "No answer from Prometheus.", alerts: [] };
  }
  const unknown = rules.filter(({ health }) => health !== "ok");
  const alerts = rules.flatMap(({ name, duration, alerts: active }) =>
    active
      .filter(({ labels }) => labels.severity !== "none")
      .map(({ state, activeAt, labels, annotations }) => {
        const firesInSeconds = Math.round(Date.parse(activeAt) / 1000 + duration - Date.now() / 1000);
        return {
          ...(state === "firing"
            ? { state: "firing" as const, seconds: -firesInSeconds }
            : { state: "pending" as const, seconds: firesInSeconds }),
          name,
          severity: labels.severity ?? "",
          summary: annotations.summary ?? "",
          runbook: annotations.runbook_url ?? "",
        };
      }),
  );
  const isTicket = ({ severity }: { severity: string }) => Number(severity !== "page");
  alerts.sort((a, b) => isTicket(a) - isTicket(b) || a.state.localeCompare(b.state) || a.seconds - b.seconds);
  return { ...(unknown.length > 0 && { problem: `Rules that are not evaluated: ${unknown.length}.` }), alerts };
}
