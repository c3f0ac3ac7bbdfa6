import type { CloudFormationClient } from "@aws-sdk/client-cloudformation";
import { failure } from "./params.ts";

/** What this plugin uses of Serverless. */
interface Serverless {
  service: {
    custom: { deploy: { named: string[] } };
    provider: { compiledCloudFormationTemplate: Template };
  };
  getProvider(name: "aws"): Provider;
}
interface Provider {
  getStage(): string;
  naming: { getStackName(): string };
  getCloudFormationClient(): Promise<CloudFormationClient>;
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
 * miss later. It compares with the template that is deployed, where the deployer may read it. A change by a param that
 * the stage does not name stops the deployment: somebody has forgotten a line. It also says where a stage's alarms
 * notify nobody. It refuses `serverless deploy function`, which changes a function's network and settings without the
 * stack, so that nothing could be compared.
 */
export default class Changes {
  readonly hooks: Record<string, () => Promise<void>>;

  constructor(serverless: Serverless, _options: object, { log }: Utils) {
    this.hooks = {
      "before:deploy:function:initialize": async () => {
        const instead = `npm run deploy -- --stage ${serverless.getProvider("aws").getStage()}`;
        throw failure([`Nothing was deployed: one function alone would differ from its stack. Use ${instead}`]);
      },
      // The template is there, also in a deployment of built archives.
      "before:aws:deploy:deploy:createStack": async () => {
        const template = serverless.service.provider.compiledCloudFormationTemplate;
        const provider = serverless.getProvider("aws");
        const stack = provider.naming.getStackName();
        if (factsOf(template).alarms === nothing)
          log.warning("alarmTopicArn is none: this stage's alarms notify nobody.");
        const changed = await deployedTemplate(provider, stack).then(
          (deployed) => changes(deployed, template),
          (error: Error) => {
            log.warning(`What this changes is not known: ${stack} cannot be read (${error.name}).`);
            return [];
          },
        );
        for (const { line } of changed) log.warning(line);
        const { named } = serverless.service.custom.deploy;
        const forgotten = changed.filter(({ param }) => !named.includes(param)).map(({ unset }) => unset);
        if (forgotten.length === 0) return;
        const refusal = `Nothing was deployed, since stages.yml, under ${provider.getStage()}, does not ask for it`;
        throw failure([`${refusal}: add ${forgotten.join(", ")}, or the values from above`]);
      },
    };
  }
}

/** The template of a stack, or an empty one where there is no such stack. Throws AWS' error where it cannot be read. */
async function deployedTemplate(provider: Provider, StackName: string): Promise<Template> {
  const { GetTemplateCommand } = await import("@aws-sdk/client-cloudformation"); // Serverless brings it.
  try {
    const client = await provider.getCloudFormationClient();
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

/** Each fact in words, the param that it comes from, and how a stage asks for none of it. */
const facts = {
  vpc: ["the functions' subnets and security groups", "subnetIds", '""'],
  alarms: ["whom the alarms notify", "alarmTopicArn", "none"],
  boundary: ["the roles' permissions boundary", "permissionsBoundaryArn", '""'],
  url: ["the authorisation of the receiver's URL", "urlAuthorizer", "none"],
} as const;

/**
 * What a deployment over `deployed` changes: a line for people, the param, and how a stage says that it wants none.
 * Nothing where no function is deployed yet.
 */
export function changes(deployed: Template, template: Template): { line: string; param: string; unset: string }[] {
  const isNew = !Object.values(deployed.Resources ?? {}).some(({ Type }) => Type === "AWS::Lambda::Function");
  const [before, after] = [factsOf(deployed), factsOf(template)];
  return (Object.keys(facts) as (keyof typeof facts)[])
    .filter((name) => !isNew && before[name] !== after[name])
    .map((name) => {
      const [words, param, none] = facts[name];
      return {
        line: `This changes ${words}: from ${before[name]} to ${after[name]}.`,
        param,
        unset: `${param}: ${none}`,
      };
    });
}
