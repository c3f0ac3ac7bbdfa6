// The look "people on call": whether their lists look where the sampler does.
import { sqlText } from "../quote.ts";
import { doubt, type Finding, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { installAgain } from "./shared-steps.ts";

/**
 * Whether the lists for people on call read the schema of the sampler's settings, and in its zone. install.sql writes
 * both into all of them, so one tells.
 */
export async function lookAtPeopleOnCall({ ask, database }: LedgerScene): Promise<Finding> {
  const { schema, timeZone } = database.ledger;
  const [list] = await ask(`
    select position(' ' || quote_ident(${sqlText(schema)}) || '.' in prosrc) > 0 and exists (
        select from unnest(proconfig) as setting where lower(setting) = lower('timezone=' || ${sqlText(timeZone)})
      ) as "isAlike"
    from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
    where nspname = 'ledger_metrics' and proname = 'stuck_orders'`);
  if (list?.isAlike) return well("look where the sampler does");
  const found = list ? "look in another schema or zone than the sampler" : "have no lists";
  return doubt(found, `lists that read ${schema}, in ${timeZone}`, installAgain);
}
