/** Words before a parenthesis that belong to the grammar, which finds Postgres' own function for them. */
const grammar = "all|any|array|cast|coalesce|exists|extract|greatest|in|least|operator|row|values";
const comparisons = / (=|<>|<=?|>=?) /g;
/** Calls with an argument: without one, none fits better than Postgres' own, which comes first on every search path. */
const calls = new RegExp(`(?<![\\w.])(?!(?:${grammar})\\()([a-z_]\\w*\\()(?![*)])`, "g");

/**
 * SQL in which each comparison and each call is Postgres' own, whatever fits the type of a column better. Whoever may
 * create in a schema of the ledger can make such operators and functions. They would make a count wrong, and would run
 * as whoever counts. Other operators have to be between types of Postgres: cast a column first. Applied twice, it is as
 * if applied once.
 */
export const own = (sql: string): string =>
  sql.replaceAll(comparisons, " operator(pg_catalog.$1) ").replaceAll(calls, "pg_catalog.$1");

/**
 * The same for people: a cast of the column instead of the operator's name. Texts are compared by = and <>, times by
 * the others. With a cast, the index of an enum or of times without a zone is not used.
 */
export const plain = (sql: string): string =>
  sql
    .replaceAll(/ operator\(pg_catalog\.(=|<>)\) /g, "::text $1 ")
    .replaceAll(/ operator\(pg_catalog\.(<=?|>=?)\) /g, "::timestamptz $1 ")
    .replaceAll("pg_catalog.", "");
