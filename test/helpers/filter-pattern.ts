/**
 * Whether a line of a log matches a JSON filter pattern, as CloudWatch Logs would say:
 * https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/matching-terms-json-log-events.html. A pattern compares
 * fields with a text, which may end in `*`, or with a number, and joins such terms by `||`. Throws at the rest of what
 * CloudWatch Logs would take.
 */
export function matchesFilter(pattern: string, line: string): boolean {
  const [, terms] = /^\{ (.+) \}$/.exec(pattern.trim()) ?? [];
  if (!terms || pattern.length > 1024) throw new Error(`cannot read ${pattern}`);
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return false;
  }
  return terms.split(/ \|\| (?=\(\$)/).some((term) => matchesTerm(term.replace(/^\((.+)\)$/, "$1"), value));
}

function matchesTerm(term: string, line: unknown): boolean {
  const [, selector = "", operator, wanted = ""] = /^\$((?:\.\w+)+) ([=<>]) ("[^"*]*\*?"|\d+)$/.exec(term) ?? [];
  if (!operator) throw new Error(`cannot read ${term}`);
  let value = line;
  for (const key of selector.split(".").slice(1)) value = Object(value)[key];
  if (wanted.startsWith('"')) {
    if (operator !== "=") throw new Error(`cannot compare a text by ${operator}`);
    const text = wanted.slice(1, -1);
    return text.endsWith("*") ? typeof value === "string" && value.startsWith(text.slice(0, -1)) : value === text;
  }
  if (typeof value !== "number") return false;
  return { "=": value === Number(wanted), "<": value < Number(wanted), ">": value > Number(wanted) }[
    operator
  ] as boolean;
}
