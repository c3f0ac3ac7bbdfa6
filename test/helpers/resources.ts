import type { FunctionName } from "../../lib/settings/settings.ts";
import type { Resources } from "./packages.ts";
import type { Policy } from "./policy.ts";

export const account = "123456789012";
export const region = "eu-central-1";
/** An ARN in this account and region. */
export const arn = (service: string, rest: string) => `arn:aws:${service}:${region}:${account}:${rest}`;

/** The properties of a function's role in the generated CloudFormation. */
export const roleIn = (resources: Resources, name: FunctionName) =>
  resources[{ sampler: "SamplerRole", receiver: "ReceiverRole" }[name]]?.Properties ?? {};

/** The statements of the policy of a function's role, with the ARNs that they have in this account and region. */
export function statementsOf(resources: Resources, name: FunctionName): Required<Policy["Statement"][number]>[] {
  const text = JSON.stringify(roleIn(resources, name).Policies)
    .replaceAll(/\{"Fn::Sub":("[^"]*")\}/g, "$1")
    .replaceAll(`\${AWS::Partition}`, "aws")
    .replaceAll(`\${AWS::Region}`, region)
    .replaceAll(`\${AWS::AccountId}`, account);
  return JSON.parse(text)[0].PolicyDocument.Statement;
}

/** The properties of all resources of a type. */
export const ofType = (resources: Resources, type: string) =>
  Object.values(resources).flatMap(({ Type, Properties }) => (Type === type ? [Properties] : []));

/** The permissions that everybody has. */
export const publicPermissions = (resources: Resources) =>
  ofType(resources, "AWS::Lambda::Permission").filter(({ Principal }) => Principal === "*");
