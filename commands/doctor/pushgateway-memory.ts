// The look "Pushgateway's memory": whether the gateway keeps its groups in a file.
import { type Finding, well, wrong } from "./finding.ts";
import type { GatewayScene } from "./scene.ts";

/** What a Pushgateway answers about itself. Something else may answer anything. */
type Status = { data?: { flags?: { "persistence.file"?: string } } } | null;

/** Whether the Pushgateway keeps its groups in a file: killed, it starts with old totals, and counters fall. */
export async function lookAtPushgatewayMemory({ settings }: GatewayScene): Promise<Finding> {
  const { url, headers = {} } = settings.pushgateway;
  const status = await fetch(`${url}/api/v1/status`, { headers, signal: AbortSignal.timeout(5_000) })
    .then((answer) => answer.json() as Promise<Status>)
    .catch(() => undefined);
  const file = status?.data?.flags?.["persistence.file"];
  if (file === undefined) return well("not a Pushgateway, or its status is not shown");
  if (!file) return well("in memory alone, as it should be");
  // Debian's package has a default of its own, so that it is not enough to leave the flag out.
  const remedy = "start it with --persistence.file= and nothing behind it: a tick fills it anyway";
  return wrong(`${file}: after a crash it shows old totals, and counters fall`, "no file", remedy);
}
