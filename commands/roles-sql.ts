import { readSqlFile } from "./sql.ts";

// What each role needs: the grants of config/postgres/roles.sql, read from there.

interface Grant {
  /** `select`, or `select (status, created_at)`: the columns are empty when it is about all of them. */
  privileges: { name: string; columns: string[] }[];
  kind: "schema" | "table";
  names: string[];
  roles: string[];
}

/** The statements `grant … on …` of roles.sql. */
export async function readGrants(): Promise<Grant[]> {
  const text = (await readSqlFile("config/postgres/roles.sql")).replaceAll(/^--.*$/gm, "");
  const list = (names = "") => names.split(",").map((name) => name.trim().replaceAll('"', ""));
  return [...text.matchAll(/^ *grant ([^;]+?)\s+on (schema )?([^;]+?)\s+to ([^;]+);/gm)].map(
    ([, privileges = "", schema, names, roles]) => ({
      privileges: [...privileges.matchAll(/(\w+)(?: \(([^)]*)\))?/g)].map(([, name = "", columns]) => ({
        name,
        columns: columns ? list(columns) : [],
      })),
      kind: schema ? "schema" : "table",
      names: list(names),
      roles: list(roles),
    }),
  );
}

/** The columns of a table that the checks read. Accepted rows alone need its `id`. */
export async function columnsRead(table: string): Promise<string[]> {
  const grants = await readGrants();
  const ofSampler = grants.filter(({ names, roles }) => names.includes(table) && roles.includes("veza_ledger_sampler"));
  const columns = ofSampler.flatMap(({ privileges }) => privileges.flatMap(({ columns }) => columns));
  return columns.filter((column) => column !== "id");
}
