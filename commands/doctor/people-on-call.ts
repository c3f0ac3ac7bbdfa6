// The look "people on call": whether they look where the sampler does.
import { checks } from "../../lib/counts/checks.ts";
import { searchPath } from "../../lib/postgres/transaction.ts";
import { sqlText } from "../quote.ts";
import { doubt, type Finding, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { installAgain } from "./shared-steps.ts";

/** The functions that list rows for people on call. */
const lists = [...checks.map(({ id }) => id), "failed_orphan_refunds"];

/** Whether people on call and their functions look where the sampler does, and in its zone: the database has theirs. */
export async function lookAtPeopleOnCall({ ask, database }: LedgerScene): Promise<Finding | undefined> {
  const { ledger } = database;
  const [row] = await ask(`
    with theirs as (
      select distinct on (name) name, setting
      from pg_db_role_setting, unnest(setconfig) as entry, lower(split_part(entry, '=', 1)) as name,
        substr(entry, length(name) + 2) as setting
      where setrole = to_regrole('veza_ledger_oncall')
        and setdatabase in (0, (select oid from pg_database where datname = current_database()))
      order by name, setdatabase desc
    )
    select (select setting from theirs where name = 'search_path') as path,
      (select setting from theirs where name = 'timezone') as zone,
      (
        select string_agg(format('ledger_metrics.%s()', name), ', ')
        from unnest(array[${lists.map(sqlText).join()}]) as name
          left join pg_proc on proname = name and pronamespace = to_regnamespace('ledger_metrics')::oid
        where proconfig is null or position(' ' || quote_ident(${sqlText(ledger.schema)}) || '.' in prosrc) = 0
          or not ${sqlText(`timezone=${ledger.timeZone}`)} = any (array(
            select regexp_replace(entry, '^timezone', 'timezone', 'i') from unnest(proconfig) as entry))
          or not has_function_privilege(to_regrole('veza_ledger_oncall')::oid, pg_proc.oid, 'execute')
      ) as lacking
    where to_regrole('veza_ledger_oncall') is not null`);
  if (!row) return undefined;
  const { path, zone, lacking } = row;
  if (path === searchPath && zone === ledger.timeZone) {
    if (!lacking) return well("look where the sampler does");
    return doubt(`lack these functions, or these look elsewhere: ${lacking}`, `in ${ledger.schema}`, installAgain);
  }
  const theirs = `${path ?? "the database's search_path"}, in ${zone ?? "the database's zone"}`;
  return doubt(`look in ${theirs}`, `${searchPath}, in ${ledger.timeZone}, as the sampler does`, installAgain);
}
