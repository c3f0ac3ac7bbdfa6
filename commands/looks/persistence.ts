import { type Finding, type Scene, well, wrong } from "../look.ts";

/** Whether the Pushgateway keeps its groups in a file: killed, it starts with old totals, and counters fall. */
export async function lookAtPersistence({ settings }: Scene): Promise<Finding> {
  const { url, headers = {} } = settings.pushgateway;
  const status = await fetch(`${url}/api/v1/status`, { headers, signal: AbortSignal.timeout(5_000) })
    .then((answer) => answer.text())
    .catch(() => "");
  const [, file] = /"persistence\.file":"(.*?)"/.exec(status) ?? [];
  if (file === undefined) return well("not a Pushgateway, or its status is not shown");
  if (!file) return well("in memory alone, as it should be");
  return wrong(
    "the Pushgateway keeps a file: after a crash it shows old totals, and counters fall",
    "start it with --persistence.file= and nothing behind it, since Debian has a default: a tick fills it anyway",
  );
}
