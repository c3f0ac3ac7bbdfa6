/**
 * Whether a line of a log matches a JSON filter pattern, as CloudWatch Logs would say. A pattern compares fields with
 * texts, which may end in *, or with numbers, by =, != and >. It may have &&, || and parentheses. Throws at everything
 * else that CloudWatch Logs would take.
 */
export function matchesFilter(pattern: string, line: string): boolean {
  const [, expression] = /^\{(.*)\}$/.exec(pattern.trim()) ?? [];
  if (expression === undefined) throw new Error(`not a JSON pattern: ${pattern}`);
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch {
    return false;
  }
  const tokens = expression.match(/&&|\|\||!=|=|>|[()]|"[^"]*"|[^\s()=!>&|"]+/g) ?? [];
  const take = (expected?: string) => {
    const token = tokens.shift();
    if (token === undefined || (expected && token !== expected)) throw new Error(`cannot read ${pattern}`);
    return token;
  };
  const fieldAt = (selector: string) => {
    if (!/^\$(\.\w+)+$/.test(selector)) throw new Error(`cannot read the field ${selector}`);
    const keys = selector.split(".").slice(1);
    return keys.reduce((value, key) => Object(value)[key], record);
  };
  const comparison = (): boolean => {
    if (tokens[0] === "(") {
      take("(");
      const value = either();
      take(")");
      return value;
    }
    const value = fieldAt(take());
    const operator = take();
    const wanted = JSON.parse(take());
    if (operator === ">") return typeof value === "number" && value > wanted;
    const isPrefix = typeof wanted === "string" && wanted.endsWith("*");
    const isEqual = isPrefix ? String(value ?? "").startsWith(wanted.slice(0, -1)) : value === wanted;
    if (operator !== "=" && operator !== "!=") throw new Error(`cannot read the operator ${operator}`);
    return isEqual === (operator === "=");
  };
  const all = (): boolean => {
    let value = comparison();
    while (tokens[0] === "&&") {
      take("&&");
      value = comparison() && value;
    }
    return value;
  };
  const either = (): boolean => {
    let value = all();
    while (tokens[0] === "||") {
      take("||");
      value = all() || value;
    }
    return value;
  };
  const value = either();
  if (tokens.length > 0) throw new Error(`cannot read ${pattern}`);
  return value;
}
