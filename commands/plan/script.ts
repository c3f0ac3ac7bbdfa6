import { visibly } from "../quote.ts";
import { become, begin } from "./apply.ts";
import type { Plan, Statement } from "./plan.ts";

/** A statement in one line, for people: without what Postgres is to store of a password. */
export const inLine = (sql: string): string =>
  sql
    .replace(/ password .*/, "")
    .split("\n")
    .map((line) => line.replace(/^ *-- .*/, "").trim())
    .filter(Boolean)
    .join(" ");

/** A plan as a script that people read, and run with psql. `mayLack` are logins that may have no password yet. */
export function scriptOf({ facts, statements, sentences, undo }: Plan, mayLack: string[]): string {
  const what = `-- What ${visibly(facts.database.name)} lacks for veza-ledger-metrics`;
  const how = `${what}: ${statements.length} statements. A superuser may run all of it:
--   psql -v ON_ERROR_STOP=1 -f this-file DATABASE
-- Anybody else runs the parts of the roles that she may act as. Where nothing is left, \`npm run migrate\` says so.
`;
  return [
    ...(statements.length > 0 ? [how, transactionOf(statements, facts.login)] : [`${what}: nothing.`]),
    ...(mayLack.length > 0 ? ["", "-- Passwords, in psql:", ...mayLack.map((login) => `-- \\password ${login}`)] : []),
    ...sentences.map((sentence) => `-- Not by a statement: ${sentence}`),
    "",
    "-- `npm run migrate -- --undo` prints this as a script:",
    ...undo.map(({ sql, comment }) => `--   ${sql};${comment ? ` -- ${visibly(comment)}` : ""}`),
  ].join("\n");
}

/** The statements that take a plan back, as such a script. */
export const undoScriptOf = ({ facts, undo }: Plan): string => transactionOf(undo, facts.login);

/** Statements in one transaction, each as its role, under headings. */
function transactionOf(statements: Statement[], login: string): string {
  const lines = [begin];
  let heading = "";
  let said: string | undefined;
  let role = login;
  for (const { sql, as, why, comment } of statements) {
    if (as !== role) {
      lines.push("", `-- As ${visibly(as)}`, as === login || as === "a superuser" ? "reset role;" : `${become(as)};`);
    }
    if (why !== heading) lines.push("", `-- ${why[0]?.toUpperCase()}${why.slice(1)}`);
    if (comment && comment !== said) lines.push(`-- ${visibly(comment)}`);
    lines.push(`${sql};`);
    [heading, said, role] = [why, comment, as];
  }
  return [...lines, "", "commit;"].join("\n");
}
