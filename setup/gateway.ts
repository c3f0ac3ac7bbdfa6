// The numbers of the service on the gateway, of which a set-up deletes some.
import { deadlineFor } from "../lib/deadline.ts";
import { fetchFailure } from "../lib/gateway/fetch-failure.ts";
import { type Group, groupUrl, ledgerJob, type PushgatewayTarget, reconcilerJob } from "../lib/gateway/pushgateway.ts";

const requestMs = 10_000;

/** Deletes a group. Resolves to why it stays, or to an empty text. Takes 10 s at most. */
export const deleteGroup = (gateway: PushgatewayTarget, group: Group): Promise<string> =>
  fetch(groupUrl(gateway, group), {
    method: "DELETE",
    redirect: "error",
    headers: gateway.headers ?? {},
    signal: deadlineFor("the gateway", requestMs),
  }).then(({ ok, status }) => (ok ? "" : `it answers ${status}`), fetchFailure);

/** Deletes the groups of a stage, which may be none. Resolves to a sentence for each that stays. */
export async function deleteGroups(gateway: PushgatewayTarget, stage: string | undefined): Promise<string[]> {
  const deleted = [ledgerJob, reconcilerJob].map(async (job) => {
    const why = await deleteGroup(gateway, { job, stage });
    return why && `The gateway still shows ${job}: ${why}`;
  });
  return (await Promise.all(deleted)).filter(Boolean);
}
