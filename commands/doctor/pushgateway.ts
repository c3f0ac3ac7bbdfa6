// The look "Pushgateway": whether there is one gateway, which takes a push and shows it.
import { randomInt } from "node:crypto";
import { deadlineFor } from "../../lib/deadline.ts";
import { isWithoutTls } from "../../lib/gateway/fetch-failure.ts";
import { groupUrl, PushRefused, push } from "../../lib/gateway/pushgateway.ts";
import { errorFields } from "../../lib/log.ts";
import { isLocalHost } from "../../lib/settings/settings.ts";
import { doubt, type Finding, well, wrong } from "./finding.ts";
import type { GatewayScene } from "./scene.ts";

const metric = "veza_ledger_doctor";
/** A balancer that chooses between two gateways at random sends all these reads to one of them once in 128 times. */
const reads = 8;

/**
 * Pushes a group of its own, reads it back on several connections, and deletes it. When a read does not show it, there
 * are several gateways. Credentials in cleartext are a doubt.
 */
export async function lookAtPushgateway({ settings }: GatewayScene): Promise<Finding> {
  const { pushgateway: gateway, stage } = settings;
  // A group of this run alone: another doctor at the same time would replace it.
  const group = { job: `${metric}_${randomInt(2 ** 32)}`, stage };
  try {
    await push(gateway, group, `# TYPE ${metric} gauge\n${metric} 1\n`, deadlineFor("the Pushgateway", 3_000));
  } catch (error) {
    return wrong(errorFields(error).reason, "a push that is taken", remedyFor(error as Error));
  }
  const { headers = {} } = gateway;
  const ask = (url: string, method: string) =>
    fetch(url, { method, headers, redirect: "error", signal: AbortSignal.timeout(3_000) });
  const read = async () => (await ask(`${gateway.url}/metrics`, "GET")).text();
  const pages = await Promise.all(Array.from({ length: reads }, () => read().catch(() => "")));
  // Something else that takes pushes, such as VictoriaMetrics, does not show them at this path.
  const shown = pages.map((page) => (/^pushgateway_/m.test(page) ? page.includes(`job="${group.job}"`) : undefined));
  const lost = shown.filter((isShown) => isShown === false).length;
  const remove = () => ask(groupUrl(gateway, group), "DELETE").catch(() => undefined);
  const [deleted] = await Promise.all(Array.from({ length: lost > 0 ? reads : 1 }, remove)); // On each gateway.
  if (lost > 0) {
    return wrong(
      `${lost} of ${reads} reads did not show what was pushed: several gateways answer at this URL`,
      "each read shows it",
      "name one of them in PUSHGATEWAY_URL: each has numbers of its own",
    );
  }
  const kept = deleted?.ok ? "" : `; the group ${group.job} could not be deleted again`;
  const fact = `accepts a push${shown.every(Boolean) ? " and shows it" : ""}${kept}`;
  const { protocol, hostname } = new URL(gateway.url);
  if (gateway.headers && protocol === "http:" && !isLocalHost(hostname)) {
    const remedy = "write https:// in PUSHGATEWAY_URL, and have TLS before the gateway";
    return doubt(`${fact}; its credentials go there in cleartext`, "https", remedy);
  }
  return well(fact);
}

/** What to do when a push fails. */
function remedyFor(error: Error): string {
  const status = error instanceof PushRefused ? error.status : 0;
  if (status === 401 || status === 403) return "check the user in PUSHGATEWAY_URL, or PUSHGATEWAY_TOKEN";
  if (status === 404) return "check the path in PUSHGATEWAY_URL";
  // Go's HTTP server says so, with the status 400.
  if (status === 400 && /HTTPS server/.test(error.message)) return "write https:// in PUSHGATEWAY_URL";
  if (isWithoutTls(error.cause)) return "write http:// in PUSHGATEWAY_URL, or have TLS before the gateway";
  return "check PUSHGATEWAY_URL, its credentials, and the network's way there";
}
