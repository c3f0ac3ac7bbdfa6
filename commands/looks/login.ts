import { type Finding, type Scene, well, wrong } from "../look.ts";

const owners: Record<string, string> = {
  veza_ledger_sampler: "the sampler's alone",
  veza_ledger_receiver: "the receiver's alone",
  veza_ledger: "for both functions",
  veza_ledger_oncall: "for people on call",
};

/** Whose login this is. With the login of somebody else, every other remedy would be for the wrong role. */
export async function lookAtLogin({ login, functions: { sampler, receiver } }: Scene): Promise<Finding> {
  const base = login.replace(/_clone$/, "");
  const fits = ["veza_ledger", !receiver && "veza_ledger_sampler", !sampler && "veza_ledger_receiver"];
  const owner = owners[base];
  if (!owner || fits.includes(base)) return well(owner ? login : `${login}, which roles.sql does not make`);
  if (sampler && receiver) {
    return wrong(`${login} is ${owner}`, "look at one function: npm run doctor -- sampler; or use veza_ledger");
  }
  const wanted = sampler ? "veza_ledger_sampler" : "veza_ledger_receiver";
  return wrong(`${login} is ${owner}`, `put the login ${wanted} into this secret: are the two secrets swapped?`);
}
