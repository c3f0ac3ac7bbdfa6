import { checks } from "../lib/counts/checks.ts";
import type { FunctionName } from "../lib/settings/settings.ts";
import { mismatches } from "../lib/totals/signature.ts";
import manifest from "../package.json" with { type: "json" };
import { Correction, list, readStages, service, stageIn } from "../setup/aws/stage.ts";
import { iamRole } from "./iam.ts";

/** What Serverless hands to a file of variables. */
interface Serverless {
  /** Of the command line. */
  options: { param?: string[]; region?: string };
  resolveVariable(address: string): Promise<unknown>;
}

/** What `custom.deploy` of serverless.yml derives from the stage's block in stages.yml. Throws a Correction. */
export async function deployment({ options, resolveVariable }: Serverless) {
  return deploymentOf(String(await resolveVariable("sls:stage")), readStages(), options);
}

/** The same for a text of stages.yml. `undefined` leaves a property out of the template. */
export function deploymentOf(stage: string, stages: string, options: Serverless["options"] = {}) {
  const params = stageIn(stages, stage, ["alarmTopicArn"], /(?!)/); // An account of examples is one to package for.
  const onCommandLine = (options.param ?? []).map((text) => text.split("=")[0]);
  if (options.region && options.region !== params.region) onCommandLine.push("region");
  if (onCommandLine.length > 0) {
    const names = onCommandLine.join(", ");
    throw new Correction(`The next deployment forgets ${names}: set it in stages.yml, under ${stage}`);
  }
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
