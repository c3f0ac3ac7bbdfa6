// The look "login": whether the login is one for the functions that are looked at.
import { callOf } from "../command.ts";
import { type Role, roleOf } from "../declared-rights.ts";
import { doubt, type Finding, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

/**
 * Whose login this is. With the login of somebody else, every other remedy would be for the wrong role. People on call
 * may read what the sampler reads, and so look in its place.
 */
export async function lookAtLogin({ login, functions }: LedgerScene): Promise<Finding> {
  const { sampler, receiver } = functions;
  const fits: Role[] = [
    "veza_ledger",
    ...(receiver ? [] : (["veza_ledger_sampler", "veza_ledger_oncall"] as const)),
    ...(sampler ? [] : (["veza_ledger_receiver"] as const)),
  ];
  const expected = fits.join(" or ");
  const role = roleOf(login);
  if (!role) {
    return doubt(`${login} has settings and rights of its own`, expected, "use a login of config/postgres/roles.sql");
  }
  if (fits.includes(role)) return well(login);
  const remedy =
    sampler && receiver
      ? `look at one function: ${callOf("doctor")} sampler, or ${callOf("doctor")} receiver`
      : "put such a login into this secret: are the two secrets swapped?";
  return wrong(`${login} is for other work`, expected, remedy);
}
