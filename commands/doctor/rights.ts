// The look "rights": which of the declared rights the login lacks.
import type { Row } from "postgres";
import { ledgerRights, ourRights, outboxRights, type Right, type Role, roleOf } from "../declared-rights.ts";
import { sqlName, sqlText } from "../quote.ts";
import { type Finding, type Step, well, wrong } from "./finding.ts";
import type { InstallationScene } from "./scene.ts";
import { installAgain } from "./shared-steps.ts";

/** Whose rights this login needs: the role's own, or those of both functions. */
const rolesWithRightsOf = (role: Role): Role[] =>
  role === "veza_ledger" ? ["veza_ledger_sampler", "veza_ledger_receiver"] : [role];

/** Which declared rights this login lacks, each with its grant. Undefined for somebody else's login. */
export async function lookAtRights(
  scene: Pick<InstallationScene, "ask" | "login" | "database" | "version">,
): Promise<Finding | undefined> {
  const { ask, login, database, version } = scene;
  const role = roleOf(login);
  if (!role) return undefined;
  const roles = rolesWithRightsOf(role);
  const memberships = await ask(`
    select role from unnest(array[${roles.map((name) => `'${name}'`)}]) as role
    where session_user <> role and not coalesce(pg_has_role(session_user, to_regrole(role), 'usage'), false)`);
  if (memberships.length > 0) {
    const names = memberships.map((row) => row.role).join(", ");
    const inherits = Number.parseInt(version, 10) >= 16 ? " with inherit true" : "";
    const sql = `alter role ${sqlName(login)} inherit; grant ${names} to ${sqlName(login)}${inherits}`;
    const step: Step = { by: "superuser", sql };
    return wrong(`${login} does not inherit the rights of ${names}`, "that it does", installAgain, step);
  }

  const rights = [...ledgerRights, ...outboxRights, ...ourRights].filter((right) => roles.includes(right.role));
  const rows = await ask(lackingOf(rights, database.ledger.schema, role === "veza_ledger_oncall"));
  const lacking = rows.map(lackingIn);
  const [first] = lacking;
  if (!first) return well("all that it needs");
  const others = lacking.length > 1 ? `; and ${lacking.length - 1} more` : "";
  const steps = [...Map.groupBy(lacking, ({ owner }) => owner)].map(([owner, ofOwner]): Step => {
    const grants = ofOwner.map(({ right, target, role: to }) => `grant ${right} on ${target} to ${sqlName(to)}`);
    return { by: { role: owner }, sql: grants.join("; ") };
  });
  // Without plpgsql, the two files do not run either.
  if (lacking.some(({ kind }) => kind !== "language")) steps.unshift(installAgain);
  return wrong(`${login} lacks ${first.right} on ${first.target}${others}`, "the rights of roles.sql", ...steps);
}

/** A right that the session lacks. `right` and `target` are SQL. */
interface Lacking {
  kind: "schema" | "relation" | "language";
  right: string;
  target: string;
  owner: string;
  /** Whom to grant it to. */
  role: string;
}

function lackingIn({ kind, privilege, columns, schema, name, owner, role }: Row): Lacking {
  const right = columns ? `${privilege} (${columns.map(sqlName).join(", ")})` : privilege;
  const target = kind === "relation" ? `${sqlName(schema)}.${sqlName(name)}` : `${kind} ${sqlName(name)}`;
  return { kind, right, target, owner, role };
}

/**
 * SQL: the rights that this session lacks. A row has the `kind` of what the right is to, its `name` and `owner`, the
 * `privilege`, and the `role` to grant it to; for a relation the `schema`, and the `columns` unless it is all of them.
 * A relation that is not there lacks nothing: other looks say so.
 */
function lackingOf(rights: readonly Right[], ledgerSchema: string, isOnCall: boolean): string {
  const needs = rights.flatMap(({ role, privilege, table, columns }) => {
    const [name, place = ledgerSchema] = table.split(".").reverse();
    return (columns.length > 0 ? columns : [null]).map((column) => ({ role, privilege, name, place, column }));
  });
  const plpgsql = `
    union all
    select 'language', 'plpgsql', null, 'usage', null, pg_get_userbyid(lanowner), role
    from pg_language, (select distinct role from need) as need
    where lanname = 'plpgsql' and not has_language_privilege(pg_language.oid, 'usage')`;
  return `
    with need as (
      select * from jsonb_to_recordset(${sqlText(JSON.stringify(needs))})
        as need (role text, privilege text, name text, place text, "column" text)
    ), found as (
      select need.*, pg_class.oid, relname, relowner, pg_namespace.oid as schema, nspname, nspowner, attnum
      from need join pg_namespace on nspname = place
        join pg_class on relnamespace = pg_namespace.oid and relname = name and relkind in ('r', 'p', 'v', 'm', 'f')
        left join pg_attribute on attrelid = pg_class.oid and attname = "column" and not attisdropped
    )
    select distinct 'schema' as kind, nspname::text as name, null as schema, 'usage' as privilege,
      null::jsonb as columns, pg_get_userbyid(nspowner) as owner, role
    from found where not has_schema_privilege(schema, 'usage')
    union all
    select 'relation', relname, nspname, privilege, jsonb_agg("column") filter (where "column" is not null),
      pg_get_userbyid(relowner), role
    from found where case when "column" is null then not has_table_privilege(oid, privilege)
      else not has_column_privilege(oid, attnum, privilege) end
    group by privilege, nspname, relname, relowner, role${isOnCall ? "" : plpgsql}`;
}
