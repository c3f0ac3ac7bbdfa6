// What CloudFormation has of a stage.
import { CloudFormationClient, DescribeStacksCommand, GetTemplateCommand } from "@aws-sdk/client-cloudformation";
import { limits } from "./clients.ts";
import { type Stage, service } from "./stage.ts";

interface Resource {
  Properties?: {
    VpcConfig?: { SubnetIds?: string[] };
    AlarmActions?: string[];
    PermissionsBoundary?: string;
    AuthType?: string;
    Environment?: { Variables?: { SECRET_ID?: string } };
  };
}

/** The status of the stack, in AWS' words; undefined where there is none. */
export async function statusOf({ stage }: Stage): Promise<string | undefined> {
  const asked = new DescribeStacksCommand({ StackName: `${service}-${stage}` });
  const { Stacks } = await new CloudFormationClient(limits).send(asked).catch((error) => {
    if (/does not exist/.test(error.message)) return { Stacks: [] }; // Its class is that of any wrong request.
    throw error;
  });
  return Stacks?.[0]?.StackStatus;
}

/** The properties of a resource in the template that was deployed, by its name there. */
export async function deployed({ stage }: Stage): Promise<(id: string) => NonNullable<Resource["Properties"]>> {
  const asked = new GetTemplateCommand({ StackName: `${service}-${stage}` });
  const { TemplateBody = "{}" } = await new CloudFormationClient(limits).send(asked);
  const { Resources = {} } = JSON.parse(TemplateBody) as { Resources?: Record<string, Resource> };
  return (id) => Resources[id]?.Properties ?? {};
}
