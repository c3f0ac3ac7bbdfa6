// The look "people on call": whether they look where the sampler does.
import { sqlText } from "../quote.ts";
import { doubt, type Finding, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { installAgain } from "./shared-steps.ts";

/** Whether people on call look where the sampler does, and in its zone: theirs is kept in the database. */
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
        select string_agg(quote_ident(name), ', ' order by n)
        from jsonb_array_elements_text(${sqlText(JSON.stringify(["pg_catalog", ...ledger.schemas, "pg_temp"]))})
          with ordinality as schema (name, n)
      ) as expected
    where to_regrole('veza_ledger_oncall') is not null`);
  if (!row) return undefined;
  const { path, zone, expected } = row;
  if (path === expected && zone === ledger.timeZone) return well("look where the sampler does");
  const theirs = `${path ?? "the database's search_path"}, in ${zone ?? "the database's zone"}`;
  return doubt(`look in ${theirs}`, `${expected}, in ${ledger.timeZone}, as the sampler does`, installAgain);
}
