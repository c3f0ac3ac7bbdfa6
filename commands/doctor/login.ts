import { doubt, type Finding, well, wrong } from "../finding.ts";
import { isOurs } from "../rights.ts";
import type { Scene, Session } from "./look.ts";

/**
 * Whose login this is. With the login of somebody else, every other remedy would be for the wrong role. People on call
 * may read what the sampler reads, and so look in its place.
 */
export async function lookAtLogin({ login, functions: { sampler, receiver } }: Scene & Session): Promise<Finding> {
  const fits = [
    "veza_ledger",
    ...(receiver ? [] : ["veza_ledger_sampler", "veza_ledger_oncall"]),
    ...(sampler ? [] : ["veza_ledger_receiver"]),
  ];
  const expected = fits.join(" or ");
  if (fits.includes(login.replace(/_clone$/, ""))) return well(login);
  if (!isOurs(login)) {
    return doubt(`${login} has settings and rights of its own`, expected, "use a login of config/postgres/roles.sql");
  }
  const remedy =
    sampler && receiver
      ? "look at one function: npm run doctor -- sampler, or npm run doctor -- receiver"
      : "put such a login into this secret: are the two secrets swapped?";
  return wrong(`${login} is for other work`, expected, remedy);
}
