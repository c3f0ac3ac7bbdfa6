import { doubt, type Finding, well, wrong } from "../finding.ts";
import type { Scene, Session } from "./look.ts";

const owners: Record<string, string> = {
  veza_ledger_sampler: "the sampler's alone",
  veza_ledger_receiver: "the receiver's alone",
  veza_ledger: "for both functions",
  veza_ledger_oncall: "for people on call",
};

/**
 * Whose login this is. With the login of somebody else, every other remedy would be for the wrong role. People on call
 * may read what the sampler reads, and so look in its place.
 */
export async function lookAtLogin({ login, functions: { sampler, receiver } }: Scene & Session): Promise<Finding> {
  const base = login.replace(/_clone$/, "");
  const fits = [
    "veza_ledger",
    ...(receiver ? [] : ["veza_ledger_sampler", "veza_ledger_oncall"]),
    ...(sampler ? [] : ["veza_ledger_receiver"]),
  ];
  const owner = owners[base];
  if (!owner)
    return doubt(`${login} has settings and rights of its own`, fits.join(" or "), "use a login of npm run migrate");
  if (fits.includes(base)) return well(login);
  const found = `${login} is ${owner}`;
  if (base === "veza_ledger_oncall" || (sampler && receiver)) {
    return wrong(
      found,
      fits.join(" or "),
      `npm run doctor -- ${base === "veza_ledger_receiver" ? "receiver" : "sampler"}`,
    );
  }
  const wanted = sampler ? "veza_ledger_sampler" : "veza_ledger_receiver";
  return wrong(found, wanted, `put the login ${wanted} into this secret: are the two secrets swapped?`);
}
