/** An IAM policy, as far as this project's files have it. */
export interface Policy {
  Statement: {
    Effect: string;
    Action: string | string[];
    Resource: string | string[];
    Condition?: Record<string, Record<string, string>>;
  }[];
}

/** Whether a text is what a pattern stands for, of whose wildcards `*` alone is known. */
const matches = (pattern: string, text: string) =>
  new RegExp(`^${pattern.replaceAll(/[^\w*]/g, "\\$&").replaceAll("*", ".*")}$`).test(text);

/**
 * Whether a policy allows an action on a resource, in a request with these condition keys. Of conditions it knows
 * StringEquals. Throws at the rest, and at statements that deny.
 */
export function allows({ Statement }: Policy, action: string, resource: string, keys = {}): boolean {
  return Statement.some(({ Effect, Action, Resource, Condition = {} }) => {
    const { StringEquals = {}, ...others } = Condition;
    if (Effect !== "Allow" || Object.keys(others).length > 0) throw new Error("not an Allow, or not StringEquals");
    return (
      [Action].flat().some((pattern) => matches(pattern, action)) &&
      [Resource].flat().some((pattern) => matches(pattern, resource)) &&
      Object.entries(StringEquals).every(([key, value]) => Object(keys)[key] === value)
    );
  });
}
