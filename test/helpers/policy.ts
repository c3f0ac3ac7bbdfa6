import { readFile } from "node:fs/promises";
import { account, region } from "./resources.ts";

type Texts = string | string[];

/** An IAM policy, as far as this project's files have it. */
export interface Policy {
  Statement: {
    Effect: string;
    Action: Texts;
    Resource?: Texts;
    Condition?: Record<string, Record<string, Texts>>;
  }[];
}

/** A policy of deploy/, in the account and region of resources.ts. An adopter may have put another of each into it. */
export async function readPolicy(name: "deployer" | "boundary"): Promise<Policy> {
  const text = await readFile(`deploy/${name}.json`, "utf8");
  const [ofAdopter, inRegion] = [/\d{12}/, /[a-z]+-[a-z]+-\d\b/].map((pattern) => pattern.exec(text)?.[0] ?? "none");
  return JSON.parse(text.replaceAll(`${ofAdopter}`, account).replaceAll(`${inRegion}`, region));
}

/** What is known of a request, by condition keys. */
export type Keys = Record<string, string | undefined>;

/** Whether a text is what a pattern stands for, with the wildcards `*` and `?`. */
const matches = (pattern: string, text: string) =>
  new RegExp(
    `^${pattern
      .replaceAll(/[^\w*?]/g, "\\$&")
      .replaceAll("*", ".*")
      .replaceAll("?", ".")}$`,
  ).test(text);

/**
 * The operators of conditions that the policies have. A key that a request lacks matches nothing, but for an operator of
 * all values: there are none that do not match.
 */
const operators: Record<string, (wanted: string, given: string) => boolean> = {
  StringEquals: (wanted, given) => wanted === given,
  ArnEquals: matches,
  ArnLike: matches,
  "ForAllValues:StringEquals": (wanted, given) => wanted === given,
};

function holds(condition: Record<string, Record<string, Texts>>, keys: Keys): boolean {
  return Object.entries(condition).every(([name, wanted]) => {
    const compare = operators[name];
    if (!compare) throw new Error(`${name} is not known here`);
    return Object.entries(wanted).every(([key, values]) => {
      const given = keys[key];
      if (given === undefined) return name.startsWith("ForAllValues:");
      return [values].flat().some((value) => compare(value, given));
    });
  });
}

/**
 * Whether a policy allows an action on a resource, in a request with these condition keys: a statement allows it, and
 * no statement denies it. Left out: principals, NotAction and NotResource, policy variables, an action's letter case,
 * and all other policies, such as a resource's. For a role with a boundary, ask both policies.
 */
export function allows({ Statement }: Policy, action: string, resource: string, keys: Keys = {}): boolean {
  const effects = Statement.flatMap(({ Effect, Action, Resource = "*", Condition = {} }) =>
    [Action].flat().some((pattern) => matches(pattern, action)) &&
    [Resource].flat().some((pattern) => matches(pattern, resource)) &&
    holds(Condition, keys)
      ? [Effect]
      : [],
  );
  return effects.includes("Allow") && !effects.includes("Deny");
}
