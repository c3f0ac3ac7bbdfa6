import { RegoEngine, TemplateFile } from "@aws/cloudformation-validate";
import { expect } from "vitest";
import type { FunctionName, Resources } from "./packages.ts";

/** The properties of a function's role in the generated CloudFormation. */
export const roleOf = (resources: Resources, name: FunctionName) =>
  resources[{ sampler: "SamplerRole", receiver: "ReceiverRole" }[name]]?.Properties ?? {};

/** The statements of the policy of a function's role. */
export function statementsOf(resources: Resources, name: FunctionName): { Action: unknown; Resource: unknown }[] {
  const [policy] = roleOf(resources, name).Policies as {
    PolicyDocument: { Statement: { Action: unknown; Resource: unknown }[] };
  }[];
  return policy?.PolicyDocument.Statement ?? [];
}

/** The properties of all resources of a type. */
export const ofType = (resources: Resources, type: string) =>
  Object.values(resources).flatMap(({ Type, Properties }) => (Type === type ? [Properties] : []));

/** The permissions that everybody has. */
export const publicPermissions = (resources: Resources) =>
  ofType(resources, "AWS::Lambda::Permission").filter(({ Principal }) => Principal === "*");

/** An ARN in the generated CloudFormation, of a service in the stack's own region and account. */
export const ownArn = (service: string, rest: string) => ({
  "Fn::Sub": `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${rest}`,
});

/** What is wrong with a template by the schemas that AWS publishes for its resources, and by cfn-lint's rules. */
export function findings(template: string): string[] {
  const engine = new RegoEngine();
  try {
    const { metadata, diagnostics } = engine.validateStandard(new TemplateFile(template), {
      severityLevel: "ERROR",
      pseudoParameterOverrides: { region: "eu-central-1" },
    });
    expect(metadata.resourcesScanned).toBeGreaterThan(10);
    return diagnostics.map(({ entity, propertyPath, message }) => `${entity?.logicalId} ${propertyPath}: ${message}`);
  } finally {
    engine.free();
  }
}
