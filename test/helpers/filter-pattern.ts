/**
 * Whether a line of a log matches a JSON filter pattern, as CloudWatch Logs would say. A pattern compares one field
 * with a text or with a number, by = or >. Throws at everything else that CloudWatch Logs would take.
 */
export function matchesFilter(pattern: string, line: string): boolean {
  const [, selector = "", operator, wanted = ""] =
    /^\{ \$((?:\.\w+)+) (=|>) ("[^"*]*"|\d+) \}$/.exec(pattern.trim()) ?? [];
  if (!operator) throw new Error(`cannot read ${pattern}`);
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return false;
  }
  for (const key of selector.split(".").slice(1)) value = Object(value)[key];
  if (operator === "=") return value === JSON.parse(wanted);
  return typeof value === "number" && value > Number(wanted);
}
