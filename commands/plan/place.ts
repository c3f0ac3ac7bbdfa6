import { Problem } from "../finding.ts";
import { shellWord, sqlName } from "../quote.ts";
import { type Facts, pathIn, type Relation } from "./facts.ts";
import { ledgerRights, tables } from "./rights.ts";

/** Where a role looks, if that is set. A path for this database alone wins. */
export function pathOf({ settings }: Facts, role: string): string[] | undefined {
  const paths = settings.filter((row) => row.role === role && row.name === "search_path");
  const path = paths.find(({ isHere }) => isHere) ?? paths[0];
  return path && pathIn(path.value);
}

/** The relation that a path leads to. */
export const foundOn = ({ relations }: Facts, path: string[], table: string): Relation | undefined =>
  relations
    .filter((one) => one.name === table && one.kind !== "i" && path.includes(one.schema))
    .sort((a, b) => path.indexOf(a.schema) - path.indexOf(b.schema))[0];

/** The schemas that have a relation of this name. */
export const placesOf = ({ relations }: Facts, table: string): string[] =>
  [...new Set(relations.filter(({ name, kind }) => name === table && kind !== "i").map(({ schema }) => schema))].sort();

/**
 * The search_path that leads to the ledger: by --schema, as the sampler's role is set, or where the only table of each
 * name is. The path of the session that asks plays no part: others can set it. Throws a Problem where a table or column
 * is missing, and where a table's name is in several schemas and nobody has chosen one: a wrong one would count 0.
 */
export function placeOf(facts: Facts, given: string[]): string[] {
  const nowhere = tables.filter((table) => placesOf(facts, table).length === 0);
  if (nowhere.length > 0) {
    const remedy = "it may be the wrong database: name the ledger's in DATABASE_URL, or migrate the ledger first";
    throw new Problem(`the database ${facts.database.name} has no table ${nowhere.join(", ")}`, remedy, "run it again");
  }
  const chosen = pathOf(facts, "veza_ledger_sampler");
  const isKept = given.length === 0 || given.every((schema) => chosen?.includes(schema));
  const unclear = tables.filter((table) => placesOf(facts, table).length > 1);
  const homes = tables.flatMap((table) => placesOf(facts, table));
  const path = (isKept ? chosen : given) ?? homes;
  const search = [...new Set([...path, ...(isKept && chosen ? [] : ["public"])])];
  const missing = tables.filter((table) => !foundOn(facts, search, table));
  const isChosen = chosen !== undefined || given.length > 0;
  const isUseless = !given.every((schema) => homes.includes(schema));
  if (missing.length > 0 || isUseless || (!isChosen && unclear.length > 0)) {
    const lost = missing.length > 0 ? missing : isUseless ? tables : unclear;
    const useful = isChosen ? (missing.length > 0 ? search : given) : [];
    const places = [...new Set(lost.flatMap((table) => placesOf(facts, table)))];
    const isOne = lost.every((table) => placesOf(facts, table).length === 1);
    const calls = (isOne ? [places] : places.map((place) => [place])).map((more) =>
      migrateTo(facts, [...useful, ...more]),
    );
    const where = lost.map((table) => `${table} is in ${list(placesOf(facts, table), " and in ")}`).join(", ");
    const fact = isChosen ? `${list(search)} does not lead to the ledger: ${where}` : where;
    if (calls.length === 1) throw new Problem(fact, ...calls);
    const which = `choose which one is the ledger: ${calls.join(", or ")}`; // In one step: nobody pastes the first.
    throw new Problem(fact, which, "if all are, make a view of them: docs/what-counts.md");
  }
  const lacking = ledgerRights.flatMap(({ table, columns }) => {
    const there = foundOn(facts, search, table)?.columns ?? columns;
    return columns.filter((column) => !there.includes(column)).map((column) => `${table} has no column ${column}`);
  });
  if (lacking.length > 0) {
    const remedy = "migrate the ledger first, or let the role read a view: docs/what-counts.md";
    throw new Problem([...new Set(lacking)].join(", "), remedy, "run it again");
  }
  return search;
}

const list = (schemas: string[], between = ", ") => schemas.map(sqlName).join(between);

/** The command that has the ledger read in these schemas, in their order, as far as they have any of it. */
export function migrateTo(facts: Facts, path: string[]): string {
  const useful = path.filter((schema) => tables.some((table) => placesOf(facts, table).includes(schema)));
  return `npm run migrate -- ${[...new Set(useful)].map((schema) => `--schema ${shellWord(schema)}`).join(" ")}`;
}
