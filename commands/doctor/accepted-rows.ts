// The look "accepted rows": lists what is accepted.
import { type Finding, orRemedy, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { installAgain } from "./shared-steps.ts";

const utc = "to_char(until at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC'";

/** Lists what is accepted: on the first day, and what people have accepted at once, the soonest to run out first. */
export async function lookAtAcceptedRows({ ask }: Pick<LedgerScene, "ask">): Promise<Finding> {
  const question = `
    select 1 as place, until, 'what was stuck on the first day, until ' || ${utc} as line
    from ledger_metrics.first_day where until > now()
    union all
    select 2, until, format('%s %s, until %s, by %s: %s', "check",
      case count(*) when 1 then min(id) else count(*) || ' rows' end, ${utc}, accepted_by, why)
    from ledger_metrics.accepted_now group by "check", until, accepted_by, why order by place, until`;
  const [first = "none", ...more] = (await orRemedy(ask(question), installAgain)).map(({ line }): string => line);
  return { ...well(first), more };
}
