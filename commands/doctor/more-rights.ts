// The look "more rights than it needs": what the logins of this service may do beyond roles.sql.

import { isOurs, loginsOf, roleNames, tables } from "../declared-rights.ts";
import { sqlName, sqlText } from "../quote.ts";
import { doubt, type Finding, type Step, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

/** What an attribute of a role lets it do, by its column in pg_roles. */
const attributes = {
  rolsuper: ["is a superuser", "nosuperuser"],
  rolbypassrls: ["passes row-level security", "nobypassrls"],
  rolcreaterole: ["may create roles", "nocreaterole"],
  rolcreatedb: ["may create databases", "nocreatedb"],
  rolreplication: ["may replicate", "noreplication"],
} as const;

const listOf = (texts: readonly string[]) => `(${texts.map(sqlText).join(", ")})`;

/** SQL: whether `own` may be a member of `other`: of a role of roles.sql, or of RDS' role for IAM. */
const isExpected = `other.rolname in ${listOf([...roleNames, "rds_iam"])}
      or other.rolname = 'pg_read_all_stats' and own.rolname in ${listOf(loginsOf("veza_ledger_oncall"))}`;

/**
 * What the logins of this service may do beyond config/postgres/roles.sql, each with what takes it back. Undefined for
 * somebody else's login.
 */
export async function lookAtMoreRights(scene: LedgerScene): Promise<Finding | undefined> {
  const { ask, login, database } = scene;
  if (!isOurs(login)) return undefined;
  const roles = await ask(`
    select own.rolname as name, ${Object.keys(attributes).join(", ")}, array_to_json(array(
      select other.rolname from pg_auth_members join pg_roles as other on other.oid = roleid
      where member = own.oid and not (${isExpected}) order by 1
    )) as members
    from pg_roles as own where own.rolname in ${listOf(roleNames.flatMap(loginsOf))} order by 1`);
  // The fourth role has the rights of the first two.
  const writers = roleNames.filter((role) => role !== "veza_ledger");
  const writes = await ask(`
    select own.rolname as name, nspname as schema, relname as "table", pg_get_userbyid(relowner) as owner
    from pg_roles as own, pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where own.rolname in ${listOf(writers)} and not rolsuper
      and nspname = ${sqlText(database.ledger.schema)} and relname in ${listOf(tables)}
      and (has_table_privilege(own.oid, pg_class.oid, 'insert, update, delete, truncate, trigger')
        or has_any_column_privilege(own.oid, pg_class.oid, 'insert, update'))
    order by 1, 2, 3`);

  const found: string[] = [];
  const steps: Step[] = [];
  for (const { name, members, ...role } of roles) {
    for (const [attribute, [what, without]] of Object.entries(attributes)) {
      if (!role[attribute]) continue;
      found.push(`${name} ${what}`);
      steps.push({ by: "superuser", sql: `alter role ${sqlName(name)} ${without}` });
    }
    for (const other of members as string[]) {
      found.push(`${name} is a member of ${sqlName(other)}`);
      steps.push({ by: "superuser", sql: `revoke ${sqlName(other)} from ${sqlName(name)}` });
    }
  }
  for (const { name, schema, table, owner } of writes) {
    const target = `${sqlName(schema)}.${sqlName(table)}`;
    found.push(`${name} may write ${target}`);
    const sql = `revoke insert, update, delete, truncate, trigger on ${target} from ${sqlName(name)}`;
    steps.push({ by: { role: owner }, sql });
  }
  if (writes.length > 0) steps.push("if PUBLIC may write there, and nobody needs that: revoke it from public too");
  if (found.length === 0) return well("none");
  return doubt(found.join("; "), "the rights of config/postgres/roles.sql alone", ...steps);
}
