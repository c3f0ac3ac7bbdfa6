import { checks } from "../../lib/checks.ts";
import type { Ask } from "../../lib/question.ts";
import { ownedView, Problem, type Step } from "../finding.ts";
import { sqlName, sqlText } from "../quote.ts";
import { readSqlFile } from "../sql.ts";
import { type Facts, type Need, pathIn, type Relation, readFacts, unmet } from "./facts.ts";
import { foundOn, placeOf } from "./place.ts";
import { defaultZone, ledgerRights, ourRights, readers, roles, settings } from "./rights.ts";

// What has to be (rights.ts, schema.sql) less what is (facts.ts), as plain statements. `npm run migrate` runs or
// prints them, and the doctor says what they would change.

export interface Statement {
  /** Without a semicolon. */
  sql: string;
  /** Who may run it. */
  as: string;
  /** What for, as a heading. */
  why: string;
  comment?: string | undefined;
  isOptional?: boolean;
  /** Whether other statements need what it makes. */
  isNew?: boolean;
}

export interface Wanted {
  schemas: string[];
  oneLogin: boolean;
  iam: boolean;
  /** What Postgres is to store of the passwords of new roles. */
  passwords: Map<string, string>;
}
export const nothingMore: Wanted = { schemas: [], oneLogin: false, iam: false, passwords: new Map() };

export interface Plan {
  facts: Facts;
  statements: Statement[];
  /** What no statement of ours can mend. */
  sentences: Step[];
  /** The statements that take all of it back. */
  undo: Statement[];
}

const [sampler, receiver, oncall, both] = Object.keys(roles) as [string, string, string, string];
const list = (names: string[]) => names.map(sqlName).join(", ");
const has = (facts: Facts, role: string) => facts.roles.some(({ name }) => name === role);
const original = (role: string) => role.replace(/_clone$/, "");

/** Reads the facts, and makes the plan. Rejects with a Problem where the ledger is not to be found. */
export async function makePlan(ask: Ask, wanted: Wanted): Promise<Plan> {
  const facts = await readFacts(ask);
  const path = placeOf(facts, wanted.schemas);
  const logins = Object.keys(roles).filter((role) => role !== both || wanted.oneLogin || has(facts, role));
  const needs = needsOf(facts, path, logins);
  const grants = grantsOf(await unmet(ask, needs));
  const statements = [
    ...rolesToMake(facts, logins, wanted),
    ...memberships(facts, logins, wanted),
    ...(await objectsToMake(facts)),
    ...settingsToChange(facts, logins, path),
    ...grants.statements,
  ];
  return { facts, statements, sentences: grants.sentences, undo: undoOf(facts, logins, needs) };
}

// Roles, their memberships and settings.

/** Who makes a role, or alters or grants it if it is there. */
function roleMaker(facts: Facts, role: string, right: "alteredBy" | "grantedBy" = "alteredBy"): string {
  const there = facts.roles.find(({ name }) => name === role);
  return there?.[right] ?? (facts.makesRoles ? facts.login : "a superuser");
}

function rolesToMake(facts: Facts, logins: string[], { passwords }: Wanted): Statement[] {
  return logins
    .filter((role) => !has(facts, role))
    .map((role) => {
      const given = passwords.get(role);
      const password = given ? ` password ${sqlText(given)}` : "";
      const sql = `create role ${role} login connection limit ${roles[role]}${password}`;
      return { sql, as: roleMaker(facts, role), why: "the logins", isNew: true };
    });
}

function memberships(facts: Facts, logins: string[], { iam }: Wanted): Statement[] {
  if (iam && !has(facts, "rds_iam")) {
    throw new Problem('role "rds_iam" does not exist', "leave --iam out, or name a database of RDS in DATABASE_URL");
  }
  const pairs = [
    ...(logins.includes(both) ? [sampler, receiver].map((role) => [role, both]) : []),
    ...(iam ? [sampler, receiver].map((role) => ["rds_iam", role]) : []),
    ["pg_read_all_stats", oncall], // To see who holds a lock.
  ] as [string, string][];
  return pairs
    .filter(([role, member]) => !facts.roles.find(({ name }) => name === member)?.memberOf.includes(role))
    .map(([role, member]) => ({
      ...{ sql: `grant ${role} to ${member}`, as: roleMaker(facts, role, "grantedBy"), why: "memberships" },
      isOptional: role === "pg_read_all_stats",
    }));
}

/** A setting of this database alone wins over ours for the whole server, and is taken back. */
function settingsToChange(facts: Facts, logins: string[], path: string[]): Statement[] {
  const clones = facts.roles.map(({ name }) => name).filter((name) => name.endsWith("_clone"));
  const rowsOf = (role: string, name: string) => facts.settings.filter((row) => row.role === role && row.name === name);
  const zones = rowsOf(sampler, "TimeZone");
  const zone = zones.find(({ isHere }) => isHere) ?? zones[0] ?? { isHere: false, value: defaultZone };
  const all = [
    ...settings.filter(({ since = 0 }) => facts.version >= since).map((one) => ({ ...one, isHere: false })),
    {
      ...zone,
      roles: readers,
      name: "TimeZone",
      why: "Times without a zone are read in the sampler's. Go writes UTC.",
    },
    { roles: readers, name: "search_path", value: list(path), isHere: true, why: "Where the ledger is." },
  ];
  return all.flatMap(({ roles: whose, name, value, isHere, why }) =>
    [...logins, ...clones].flatMap((role): Statement[] => {
      if (!whose.includes(original(role))) return [];
      const isPath = name === "search_path";
      const same = (is: string) => (isPath ? list(pathIn(is)) === value && !is.includes("$user") : is === value);
      const statement = (here: boolean, change: string): Statement => ({
        sql: `alter role ${role}${here ? ` in database ${sqlName(facts.database.name)}` : ""} ${change}`,
        ...{ as: roleMaker(facts, role), why: "the logins' settings", comment: why },
      });
      const rows = rowsOf(role, name);
      return [
        ...(rows.some((row) => row.isHere === isHere && same(row.value))
          ? []
          : [statement(isHere, `set ${name} = ${isPath ? value : sqlText(value)}`)]),
        ...(!isHere && rows.some((row) => row.isHere) ? [statement(true, `reset ${name}`)] : []),
      ];
    }),
  );
}

// The schema ledger_metrics.

/** Who makes a missing object: who acts for the schema's owner, or who may make the schema. */
function builder({ schemas, database, login }: Facts): string {
  const schema = schemas.find(({ name }) => name === "ledger_metrics");
  return schema?.by ?? (database.mayCreate ? login : database.by);
}

async function objectsToMake(facts: Facts): Promise<Statement[]> {
  const there = facts.relations.filter(({ schema }) => schema === "ledger_metrics").map(({ name }) => name);
  if (there.length > 0 && !there.includes("deliveries")) {
    const fact = "the schema ledger_metrics is there, and is not of this service: it has no table deliveries";
    throw new Problem(fact, "rename your schema: this service makes its own", "run it again");
  }
  const made = { as: builder(facts), why: "the schema ledger_metrics", isNew: true };
  const isThere = facts.schemas.some(({ name }) => name === "ledger_metrics");
  const [, ...sections] = (await readSqlFile("config/postgres/schema.sql")).split(/^-- (?=[a-z_]+$)/m);
  const objects = sections.flatMap((section): Statement[] => {
    const [object = "", ...lines] = section.split("\n");
    const sql = lines.join("\n").trim().replace(/;$/, "");
    return there.includes(object) ? [] : [{ sql, ...made }];
  });
  const ids = checks.map(({ id }) => sqlText(id)).join(", ");
  const known = checks.map(({ id }) => id).join(", ");
  const constraint = `alter table ledger_metrics.accepted drop constraint if exists known_check,
  add constraint known_check check ("check" in (${ids})) not valid;
comment on constraint known_check on ledger_metrics.accepted is ${sqlText(known)}`;
  return [
    ...(isThere ? [] : [{ sql: "create schema ledger_metrics", ...made }]),
    ...objects,
    ...(facts.knownCheck === known ? [] : [{ sql: constraint, ...made }]),
  ];
}

// Rights.

/**
 * What these roles need. Below a view its owner needs rights, or with security_invoker, wherever that view is, the role
 * itself.
 */
function needsOf(facts: Facts, path: string[], logins: string[]): Need[] {
  const needs = new Map<string, Need>();
  const add = (need: Need) => {
    const key = JSON.stringify([need.role, need.privilege, need.target, need.column]);
    const isNew = !needs.has(key);
    if (isNew) needs.set(key, need);
    return isNew;
  };
  const reach = (relation: Relation, role: string, caller: string, privilege: string, column?: string) => {
    const { oid, by, schema, name, owner, asksAsCaller } = relation;
    const target = `${sqlName(schema)}.${sqlName(name)}`;
    if (!add({ role, privilege, on: "table", oid, column, target, by })) return;
    for (const read of relation.reads) {
      const below = facts.relations.find((one) => one.oid === read.oid);
      if (below) reach(below, asksAsCaller ? caller : owner, caller, "select", read.column);
    }
  };
  const use = (role: string, schema: string) => {
    const there = facts.schemas.find(({ name }) => name === schema);
    const by = there?.by ?? builder(facts);
    add({ role, privilege: "usage", on: "schema", oid: there?.oid, target: `schema ${sqlName(schema)}`, by });
  };
  const { oid, by, name } = facts.database;
  for (const role of logins.filter((one) => one !== both)) {
    add({ role, privilege: "connect", on: "database", oid, target: `database ${sqlName(name)}`, by });
  }
  for (const { role, table, columns, optional } of ledgerRights.filter(({ role }) => logins.includes(role))) {
    const relation = foundOn(facts, path, table);
    if (!relation) continue;
    use(role, relation.schema);
    const there = [...columns, ...optional].filter((column) => relation.columns.includes(column));
    for (const column of there) reach(relation, role, role, "select", column);
  }
  for (const { role, privilege, table, columns } of ourRights.filter(({ role }) => logins.includes(role))) {
    use(role, "ledger_metrics");
    const there = facts.relations.find(({ schema, name }) => `${schema}.${name}` === table);
    for (const column of columns.length > 0 ? columns : [undefined]) {
      if (there) reach(there, role, role, privilege, column);
      else add({ role, privilege, on: "table", target: table, by: builder(facts), column });
    }
  }
  return [...needs.values()];
}

/** Grants of these needs: one for all roles that need the same of a target. An owner of the application's gets none. */
function grantsOf(lacking: Need[]): Pick<Plan, "statements" | "sentences"> {
  const isOurs = ({ role }: Need) => Object.hasOwn(roles, role);
  const byRole = Map.groupBy(lacking.filter(isOurs), ({ role, target }) => `${role} ${target}`);
  const grants = [...byRole.values()].map((needs) => {
    const { role, target, by } = needs[0] as Need;
    const what = [...Map.groupBy(needs, ({ privilege }) => privilege)].map(([privilege, rights]) => {
      const columns = rights.flatMap(({ column }) => column ?? []);
      return columns.length > 0 ? `${privilege} (${list(columns)})` : privilege;
    });
    return { sql: `grant ${what.join(", ")} on ${target} to `, role, by };
  });
  const statements = [...Map.groupBy(grants, ({ sql }) => sql)].map(
    ([sql, same]): Statement => ({
      sql: sql + same.map(({ role }) => role).join(", "),
      ...{ as: same[0]?.by ?? "", why: "rights" },
    }),
  );
  return { statements, sentences: lacking.every(isOurs) ? [] : [ownedView] };
}

/** What takes all of it back. The roles stay where another database of the server needs them. */
function undoOf(facts: Facts, logins: string[], needs: Need[]): Statement[] {
  const clones = facts.roles.map(({ name }) => name).filter((name) => name.endsWith("_clone"));
  const all = [...logins, ...clones];
  const targets = new Map(needs.filter(({ role }) => all.includes(role)).map(({ target, by }) => [target, by]));
  const elsewhere = [...new Set(facts.roles.filter(({ name }) => all.includes(name)).flatMap((one) => one.elsewhere))];
  const why = "what takes it back, and the totals with it";
  const stay = elsewhere.length > 0 ? `The roles stay: they have rights in ${elsewhere.join(", ")}.` : undefined;
  return [
    ...[...targets]
      .filter(([target]) => !/^(schema )?ledger_metrics\b/.test(target))
      .map(([target, as]) => ({ sql: `revoke all on ${target} from ${list(all)}`, as, why })),
    { sql: "drop schema ledger_metrics cascade", as: builder(facts), why, comment: stay },
    ...all.map((role) => ({
      sql: `alter role ${role} in database ${sqlName(facts.database.name)} reset all`,
      ...{ as: roleMaker(facts, role), why },
    })),
    ...(stay ? [] : [{ sql: `drop role ${list(all)}`, as: roleMaker(facts, sampler), why }]),
  ];
}
