import { checks } from "../lib/counts/checks.ts";
import type { FunctionName } from "../lib/settings/settings.ts";
import { mismatches } from "../lib/totals/signature.ts";
import manifest from "../package.json" with { type: "json" };
import { iamRole } from "./iam.ts";

/** What Serverless hands to a file of variables. */
interface Serverless {
  /** Of the command line. */
  options: { param?: string[]; region?: string };
  resolveVariable(address: string): Promise<unknown>;
  resolveConfigurationProperty(path: string[]): Promise<unknown>;
}

/** Params as YAML has them: of any type. */
type Block = Record<string, unknown>;

const textParams = [
  "region",
  "databaseResourceId",
  "samplerSecretId",
  "receiverSecretId",
  "kmsKeyArn",
  "subnetIds",
  "securityGroupIds",
  "alarmTopicArn",
  "receiverConcurrency",
  "urlAuthorizer",
  "permissionsBoundaryArn",
] as const;

/** A stage's params: texts are trimmed, and empty when the param is not set. */
type Params = Record<(typeof textParams)[number], string> & { tags: unknown };

/**
 * Checks the params of a stage in stages.yml, and returns what `custom.deploy` derives from them. `undefined`
 * leaves a property out of the template. Throws one error that names every wrong param.
 */
export async function deployment({ options, resolveVariable, resolveConfigurationProperty }: Serverless) {
  const stage = String(await resolveVariable("sls:stage"));
  const service = String(await resolveVariable("self:service"));
  const defaults = (await resolveConfigurationProperty(["params", "default"])) as Block;
  const stages = await resolveVariable("file(stages.yml), null");
  const params = readParams(stage, stages, defaults, options);
  checkValues(params, `${service}-${stage}-receiver`);

  const subnetIds = list(params.subnetIds);
  const inVpc = subnetIds.length > 0;
  const reserves = params.receiverConcurrency !== "off";
  const environment = (secretIds: string) => ({
    SECRET_ID: secretIds,
    STAGE: stage,
    VERSION: manifest.version,
    // Node's own roots lack the authorities of RDS. Lambda brings this file of them, but does not load it.
    NODE_EXTRA_CA_CERTS: "/var/runtime/ca-cert.pem",
  });
  const role = (functionName: FunctionName, secretIds: string) =>
    iamRole(`${service}-${stage}-${functionName}`, loginOf(functionName), list(secretIds), params);
  return {
    region: params.region,
    tags: params.tags,
    samplerEnvironment: environment(params.samplerSecretId),
    receiverEnvironment: environment(params.receiverSecretId),
    samplerRole: role("sampler", params.samplerSecretId),
    receiverRole: role("receiver", params.receiverSecretId),
    vpc: inVpc ? { subnetIds, securityGroupIds: list(params.securityGroupIds) } : undefined,
    url: { none: true, aws_iam: { authorizer: "aws_iam" }, off: undefined }[params.urlAuthorizer],
    samplerConcurrency: reserves ? 1 : undefined,
    receiverConcurrency: reserves ? Number(params.receiverConcurrency) : undefined,
    alarmActions: params.alarmTopicArn === "none" ? [] : [params.alarmTopicArn],
    unknownPattern,
    mismatchPattern,
  };
}

/** Pattern of the lines in the sampler's log that say what a tick could not do: a count is -1, or no totals. */
const unknownPattern = `{ ($.message.message = "totals not published")${checks
  .map(({ id }) => ` || ($.message.${id} < 0)`)
  .join("")} }`;

/** Pattern of the lines in the receiver's log about a request whose secret or clock is wrong. */
const mismatchPattern = `{ ${Object.values(mismatches)
  .map((beginning) => `($.message.error = "${beginning}*")`)
  .join(" || ")} }`;

/** What a function logs in to Postgres as: commands/declared-rights.ts has this role. */
const loginOf = (functionName: FunctionName) => `veza_ledger_${functionName}`;

/** Merges the params of a stage over the defaults. Refuses unknown params, and params on the command line. */
function readParams(stage: string, stages: unknown, defaults: Block, options: Serverless["options"]): Params {
  const block = isBlock(stages) ? stages[stage] : undefined;
  if (!isBlock(block)) {
    const file =
      stages == null ? "there is no stages.yml beside serverless.yml, or it is empty" : "stages.yml has no block";
    throw failure([`${file}: add "${stage}: { alarmTopicArn: … }", with whom the alarms of the stage ${stage} notify`]);
  }
  const given = (options.param ?? []).map((text) => text.split("=")[0]);
  if (options.region && options.region !== (block.region ?? defaults.region)) given.push("region");
  const unknown = Object.keys(block).filter((name) => !(name in defaults));
  const problems = [
    ...given.map(
      (name) =>
        `${name} is set on the command line, which the next deployment forgets: set it in stages.yml, under ${stage}`,
    ),
    ...unknown.map(
      (name) => `${name} in stages.yml, under ${stage}, is not known: use ${Object.keys(defaults).join(", ")}`,
    ),
  ];
  if (problems.length > 0) throw failure(problems);
  const values = { ...defaults, ...block };
  const texts = textParams.map((name) => [name, String(values[name] ?? "").trim()]);
  return { ...Object.fromEntries(texts), tags: values.tags };
}

const isBlock = (value: unknown): value is Block =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Throws one error that names every param that AWS would refuse, or that would have no effect. */
function checkValues(params: Params, longestName: string): void {
  const problems: string[] = [];
  const must = (holds: unknown, problem: string) => holds || problems.push(problem);
  const { region } = params;
  const hasRegion = /^[a-z]{2}(-[a-z]+)+-\d$/.test(region);
  must(hasRegion, "region must be like eu-central-1");
  must(/^[A-Za-z0-9-]+$/.test(longestName), "stage may hold letters, digits and - only");
  must(longestName !== `${manifest.name}-drill-receiver`, "stage may not be drill, which docs/drill.md uses");
  must(longestName.length <= 64, `stage is too long: ${longestName} has more than Lambda's 64 characters`);
  const arnOf = (service: string, rest: string) => new RegExp(`^arn:aws[\\w-]*:${service}:${rest}$`);
  must(
    /^((db|cluster|prx)-\w+)?$/.test(params.databaseResourceId),
    "databaseResourceId must be like db-ABCDEFGHIJKL, cluster-ABCDEFGHIJKL or prx-0123abcd, or empty",
  );
  const secretArn = arnOf("secretsmanager", `${region}:\\d{12}:secret:[\\w/+=.@!-]+-[A-Za-z0-9]{6}`);
  for (const name of ["samplerSecretId", "receiverSecretId"] as const) {
    const ids = list(params[name]);
    must(
      ids.length > 0 && ids.every((id) => (id.startsWith("arn:") ? secretArn.test(id) : /^[\w/+=.@!-]+$/.test(id))),
      `${name} must be names of secrets in ${region}, or whole ARNs with the last six characters, separated by commas`,
    );
  }
  must(
    !params.kmsKeyArn || arnOf("kms", `${region}:\\d{12}:key/[\\w-]+`).test(params.kmsKeyArn),
    `kmsKeyArn must be the ARN of a key in ${region}, not of an alias, or empty`,
  );
  const [subnets, groups] = [list(params.subnetIds), list(params.securityGroupIds)];
  must(subnets.length > 0 === groups.length > 0, "subnetIds and securityGroupIds belong together: set both or none");
  must(
    subnets.every((id) => id.startsWith("subnet-")),
    "subnetIds must be like subnet-0123abcd, separated by commas",
  );
  must(
    groups.every((id) => id.startsWith("sg-")),
    "securityGroupIds must be like sg-0123abcd, separated by commas",
  );
  must(
    params.alarmTopicArn === "none" || arnOf("sns", `${region}:\\d{12}:\\S+`).test(params.alarmTopicArn),
    `alarmTopicArn must be the ARN of the SNS topic in ${region} that the alarms notify, or none, where nobody is told`,
  );
  must(
    /^([1-9]\d*|off)$/.test(params.receiverConcurrency),
    "receiverConcurrency must be a whole number above 0, or off",
  );
  must(/^(none|aws_iam|off)$/.test(params.urlAuthorizer), "urlAuthorizer must be none, aws_iam or off");
  must(
    !params.permissionsBoundaryArn || arnOf("iam", ":(\\d{12}|aws):policy/\\S+").test(params.permissionsBoundaryArn),
    "permissionsBoundaryArn must be the ARN of a policy, or empty",
  );
  const { tags } = params;
  must(
    typeof tags === "object" && tags !== null && Object.values(tags).every((value) => typeof value === "string"),
    "tags must be names with texts, such as { team: payments }",
  );
  if (problems.length > 0) throw failure(problems);
}

/** An error with one line of problems. Serverless prints an error's stack, which would tell a deployer nothing. */
function failure(problems: string[]): Error {
  const error = new Error(problems.join("; "));
  error.stack = error.message;
  return error;
}

/** The items of a list that commas separate. */
function list(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean);
}
