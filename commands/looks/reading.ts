import { type Finding, well, wrong } from "../finding.ts";
import type { Session } from "../take-looks.ts";

/** Whether all roles of roles.sql read the ledger in the same way as the sampler's role. */
export async function lookAtReading({ database: { sql } }: Session): Promise<Finding> {
  const rows = await sql`
      with entries as (
        select rolname, split_part(entry, '=', 1) as name, substr(entry, strpos(entry, '=') + 1) as value, setdatabase
        from pg_db_role_setting join pg_roles on pg_roles.oid = setrole, unnest(setconfig) as entry
        where setdatabase in (0, (select oid from pg_database where datname = current_database()))
      ),
      effective as (
        select distinct on (rolname, name) * from entries order by rolname, name, setdatabase desc
      ),
      ours as (select * from effective where rolname = 'veza_ledger_sampler'),
      others as (
        select rolname from pg_roles
        where rolname in ('veza_ledger_sampler_clone', 'veza_ledger', 'veza_ledger_clone', 'veza_ledger_oncall')
      ),
      names as (
        select name from ours union
        select name from effective join others using (rolname)
        where name in ('search_path', 'TimeZone') or name like '%.%'
      )
      select others.rolname as role, name, coalesce(theirs.value, 'the default') as theirs,
        coalesce(ours.value, 'the default') as ours
      from others cross join names
        left join effective as theirs using (rolname, name)
        left join ours using (name)
      where theirs.value is distinct from ours.value
        -- The limits of a role are its own.
        and name !~ '^(default_transaction_.*|synchronous_commit|.*_timeout|role)$'
      order by role, name`;
  const [first] = rows;
  if (!first) return well("all roles read the ledger as veza_ledger_sampler does");
  const { role, name, theirs, ours } = first;
  const more = rows.length > 1 ? `, and ${rows.length - 1} more such` : "";
  return wrong(`${role} reads with ${name} ${theirs}${more}`, `${ours}, as veza_ledger_sampler`, "npm run migrate");
}
