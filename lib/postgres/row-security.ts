import type { Row } from "postgres";

// Rows that row-level security hides would make a count too small. Such a count is -1.

/** SQL: a column that tells whether rows of a table may be hidden from this role although row_security is off. */
export const mayHideRows = (table: string): string => `row_security_active('${table}') as hides_rows`;

/** Throws when rows may be hidden, or when the row does not tell. */
export function refuseHiddenRows({ hides_rows }: Row): void {
  if (hides_rows !== false) throw new Error("row-level security may hide rows from this role");
}
