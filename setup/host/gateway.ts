// The numbers of the service on the gateway.
import { deadlineFor } from "../../lib/deadline.ts";
import { fetchFailure } from "../../lib/gateway/fetch-failure.ts";
import { groupUrl, ledgerJob, type PushgatewayTarget, reconcilerJob } from "../../lib/gateway/pushgateway.ts";

const requestMs = 10_000;

/** Deletes the groups of a stage, which may be none. Resolves to a sentence for each that stays. */
export async function deleteGroups(gateway: PushgatewayTarget, stage: string | undefined): Promise<string[]> {
  const deleted = [ledgerJob, reconcilerJob].map(async (job) => {
    const options = { method: "DELETE", redirect: "error", headers: gateway.headers ?? {} } as const;
    const why = await fetch(groupUrl(gateway, { job, stage }), {
      ...options,
      signal: deadlineFor("the gateway", requestMs),
    }).then(({ ok, status }) => (ok ? "" : `it answers ${status}`), fetchFailure);
    return why && `The gateway still shows ${job}: ${why}`;
  });
  return (await Promise.all(deleted)).filter(Boolean);
}
