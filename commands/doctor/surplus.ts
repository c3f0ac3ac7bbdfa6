import { doubt, type Finding, type Step, well } from "../finding.ts";
import { sqlName } from "../quote.ts";
import { isOurs, tables } from "../rights.ts";
import type { Session } from "./look.ts";

/** What an attribute of a role lets it do, by its column in pg_roles. */
const attributes = {
  rolsuper: ["is a superuser", "nosuperuser"],
  rolbypassrls: ["passes row-level security", "nobypassrls"],
  rolcreaterole: ["may create roles", "nocreaterole"],
  rolcreatedb: ["may create databases", "nocreatedb"],
  rolreplication: ["may replicate", "noreplication"],
} as const;

/** Roles that a login of ours may be a member of: its own, by roles.sql, and RDS' for IAM. */
const known = `other.rolname ~ '^veza_ledger(_sampler|_receiver|_oncall)?$' or other.rolname = 'rds_iam'
      or other.rolname = 'pg_read_all_stats' and own.rolname ~ '^veza_ledger_oncall(_clone)?$'`;

/**
 * What the logins of this service may do beyond config/postgres/roles.sql, each with what takes it back. Undefined for
 * somebody else's login.
 */
export async function lookAtSurplus({ ask, login, database }: Session): Promise<Finding | undefined> {
  if (!isOurs(login)) return undefined;
  const logins = "own.rolname ~ '^veza_ledger(_sampler|_receiver|_oncall)?(_clone)?$'";
  const roles = await ask(`
    select own.rolname as name, ${Object.keys(attributes).join(", ")}, array_to_json(array(
      select other.rolname from pg_auth_members join pg_roles as other on other.oid = roleid
      where member = own.oid and not (${known}) order by 1
    )) as members
    from pg_roles as own where ${logins} order by 1`);
  const writes = await ask(`
    select own.rolname as name, format('%I.%I', nspname, relname) as target, pg_get_userbyid(relowner) as owner
    from pg_roles as own, pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where own.rolname ~ '^veza_ledger_(sampler|receiver|oncall)$' and not rolsuper and nspname = any (array[${database.ledger.schemas.map((schema) => `'${schema}'`)}])
      and relname = any (array[${tables.map((table) => `'${table}'`)}])
      and (has_table_privilege(own.oid, pg_class.oid, 'insert, update, delete, truncate, trigger')
        or has_any_column_privilege(own.oid, pg_class.oid, 'insert, update'))
    order by 1, 2`);

  const found: string[] = [];
  const steps: Step[] = [];
  for (const { name, members, ...role } of roles) {
    for (const [attribute, [what, without]] of Object.entries(attributes)) {
      if (!role[attribute]) continue;
      found.push(`${name} ${what}`);
      steps.push({ as: "a superuser", sql: `alter role ${sqlName(name)} ${without}` });
    }
    for (const other of members as string[]) {
      found.push(`${name} is a member of ${sqlName(other)}`);
      steps.push({ as: "a superuser", sql: `revoke ${sqlName(other)} from ${sqlName(name)}` });
    }
  }
  for (const { name, target, owner } of writes) {
    found.push(`${name} may write ${target}`);
    const sql = `revoke insert, update, delete, truncate, trigger on ${target} from ${sqlName(name)}`;
    steps.push({ as: sqlName(owner), sql });
  }
  if (writes.length > 0) steps.push("if PUBLIC may write there, and nobody needs that: revoke it from public too");
  if (found.length === 0) return well("none");
  return doubt(found.join("; "), "the rights of config/postgres/roles.sql alone", ...steps);
}
