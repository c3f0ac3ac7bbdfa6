import { Problem } from "../finding.ts";
import { shellWord, sqlName } from "../quote.ts";
import { type Facts, pathIn, type Relation } from "./facts.ts";
import { ledgerRights, tables } from "./rights.ts";

/** Where the sampler's role looks, if that is set. A path for this database alone wins. */
function chosenPath({ settings }: Facts): string[] | undefined {
  const paths = settings.filter(({ role, name }) => role === "veza_ledger_sampler" && name === "search_path");
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
  const homes = tables.flatMap((table) => placesOf(facts, table));
  const kept = chosenPath(facts); // It may lead by way of a view.
  const isKept = given.length === 0 || given.every((schema) => kept?.includes(schema));
  const chosen = isKept ? kept : [...given, "public"];
  const path = [...new Set(chosen ?? [...homes, "public"])];
  const isClear = (table: string) => (chosen ? foundOn(facts, path, table) : placesOf(facts, table).length === 1);
  const unclear = tables.filter((table) => !isClear(table) || !given.every((schema) => homes.includes(schema)));
  if (unclear.length > 0) throw unclearPlace(facts, unclear, chosen);
  const lacking = ledgerRights.flatMap(({ table, columns }) => {
    const there = foundOn(facts, path, table)?.columns ?? columns;
    return columns.filter((column) => !there.includes(column)).map((column) => `${table} has no column ${column}`);
  });
  if (lacking.length > 0) {
    const remedy = "migrate the ledger first, or let the role read a view: docs/what-counts.md";
    throw new Problem([...new Set(lacking)].join(", "), remedy, "run it again");
  }
  return path;
}

/** Where these tables are, and the commands that would choose a place. */
function unclearPlace(facts: Facts, unclear: string[], chosen?: string[]): Problem {
  const list = (schemas: string[], between: string) => schemas.map(sqlName).join(between);
  const where = unclear.map((table) => `${table} is in ${list(placesOf(facts, table), " and in ")}`).join(", ");
  const fact = chosen ? `${list(chosen, ", ")} does not lead to the ledger: ${where}` : where;
  const places = [...new Set(unclear.flatMap((table) => placesOf(facts, table)))];
  const isOne = unclear.every((table) => placesOf(facts, table).length === 1);
  if (isOne) return new Problem(fact, migrateTo(facts, [...(chosen ?? []), ...places]));
  // In one step: nobody pastes the first.
  const calls = places.map((place) => migrateTo(facts, [...(chosen ?? []), place])).join(", or ");
  const both = "if all are, make a view of them: docs/what-counts.md";
  return new Problem(fact, `choose which one is the ledger: ${calls}`, both);
}

/** The command that has the ledger read in these schemas, in their order, as far as they have any of it. */
export function migrateTo(facts: Facts, path: string[]): string {
  const useful = path.filter((schema) => tables.some((table) => placesOf(facts, table).includes(schema)));
  return `npm run migrate -- ${[...new Set(useful)].map((schema) => `--schema ${shellWord(schema)}`).join(" ")}`;
}
