import type { CloudFormationClient } from "@aws-sdk/client-cloudformation";

/** What this plugin uses of Serverless. */
interface Serverless {
  service: { provider: { compiledCloudFormationTemplate: Template } };
  getProvider(name: "aws"): {
    naming: { getStackName(): string };
    getCloudFormationClient(): Promise<CloudFormationClient>;
  };
}
interface Utils {
  log: { warning(text: string): void };
}

/** A template of CloudFormation. */
export interface Template {
  Resources?: Record<string, { Type: string; Properties?: Record<string, unknown> }>;
}

/**
 * A plugin of Serverless that says, before a deployment changes anything, what it changes or drops of what people would
 * miss later. It compares with the template that is deployed, where the deployer may read it. It also says where a
 * stage's alarms notify nobody.
 */
export default class Changes {
  readonly hooks: Record<string, () => Promise<void>>;

  constructor(serverless: Serverless, _options: object, { log }: Utils) {
    this.hooks = {
      // The template is there, also in a deployment of built archives.
      "before:aws:deploy:deploy:createStack": async () => {
        const template = serverless.service.provider.compiledCloudFormationTemplate;
        const provider = serverless.getProvider("aws");
        const stack = provider.naming.getStackName();
        if (factsOf(template).alarms === nothing)
          log.warning("alarmTopicArn is none: this stage's alarms notify nobody.");
        try {
          const deployed = await deployedTemplate(await provider.getCloudFormationClient(), stack);
          for (const line of changes(deployed, template)) log.warning(line);
        } catch (error) {
          log.warning(`What this changes is not known: ${stack} cannot be read (${(error as Error).name}).`);
        }
      },
    };
  }
}

/** The template of a stack, or an empty one where there is no such stack. Throws AWS' error where it cannot be read. */
async function deployedTemplate(client: CloudFormationClient, StackName: string): Promise<Template> {
  const { GetTemplateCommand } = await import("@aws-sdk/client-cloudformation"); // Serverless brings it.
  try {
    const { TemplateBody = "{}" } = await client.send(new GetTemplateCommand({ StackName }));
    return JSON.parse(TemplateBody) as Template;
  } catch (error) {
    if (/does not exist/.test((error as Error).message)) return {};
    throw error;
  }
}

const nothing = "none";

/** What a template says of the network, of whom the alarms notify, of the boundary and of the URL. */
function factsOf({ Resources = {} }: Template) {
  const of = (type: string) => Object.values(Resources).filter(({ Type }) => Type === `AWS::${type}`);
  const texts = (values: unknown[]) => {
    const given = values.filter((value) => value !== undefined);
    return [...new Set(given.map((value) => (typeof value === "string" ? value : JSON.stringify(value))))].join(", ");
  };
  const all = (type: string, ...names: string[]) =>
    texts(of(type).flatMap(({ Properties = {} }) => names.flatMap((name) => Properties[name]))) || nothing;
  const networks = of("Lambda::Function").map(({ Properties }) => Properties?.VpcConfig ?? {}) as Record<
    string,
    unknown
  >[];
  return {
    vpc: texts(networks.flatMap((network) => [network.SubnetIds, network.SecurityGroupIds].flat())) || nothing,
    alarms: all("CloudWatch::Alarm", "AlarmActions"),
    boundary: all("IAM::Role", "PermissionsBoundary"),
    url: all("Lambda::Url", "AuthType"),
  };
}

const words = {
  vpc: "the functions' subnets and security groups",
  alarms: "whom the alarms notify",
  boundary: "the roles' permissions boundary",
  url: "the authorisation of the receiver's URL",
};

/** A line for each fact that a deployment over `deployed` changes; none where no function is deployed yet. */
export function changes(deployed: Template, template: Template): string[] {
  const isNew = !Object.values(deployed.Resources ?? {}).some(({ Type }) => Type === "AWS::Lambda::Function");
  const [before, after] = [factsOf(deployed), factsOf(template)];
  return (Object.keys(words) as (keyof typeof words)[])
    .filter((name) => !isNew && before[name] !== after[name])
    .map((name) => `This changes ${words[name]}: from ${before[name]} to ${after[name]}.`);
}
