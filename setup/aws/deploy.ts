// Deploys a stage, and tries it by a tick and a ping.
import {
  GetAccountSettingsCommand,
  GetFunctionUrlConfigCommand,
  InvokeCommand,
  LambdaClient,
} from "@aws-sdk/client-lambda";
import { limits } from "./clients.ts";
import { sendPing } from "./look.ts";
import { idsOf } from "./secrets.ts";
import { deployed, statusOf } from "./stack.ts";
import { Correction, type Stage, service } from "./stage.ts";
import { ProgramFailed, program } from "./step.ts";

/** A stage reserves 5 for the receiver and 1 for the sampler, and AWS wants 100 left. */
const neededConcurrency = 106;

/**
 * Stops a first deployment that would fail, and any that would drop, without a word, what the stack has: a name of
 * which the stage's block has no line.
 */
async function checkStack(stage: Stage): Promise<void> {
  const stop = (why: string) => new Correction(`Nothing was deployed: ${why}`);
  const status = await statusOf(stage);
  if (!status) {
    const { AccountLimit } = await new LambdaClient(limits).send(new GetAccountSettingsCommand({}));
    const limit = AccountLimit?.UnreservedConcurrentExecutions ?? 0;
    if (limit >= neededConcurrency || stage.receiverConcurrency === "off") return;
    throw stop(`this account runs ${limit} functions at once, and AWS reserves nothing below ${neededConcurrency}.
Write receiverConcurrency: off under ${stage.stage} in stages.yml, or ask AWS for more.`);
  }
  if (/^(ROLLBACK_|REVIEW_IN_PROGRESS|DELETE_FAILED)/.test(status)) {
    throw stop(
      `the stack's creation has failed (${status}). Delete it first:\nnpx serverless remove --stage ${stage.stage}`,
    );
  }
  if (status.endsWith("_IN_PROGRESS")) {
    throw stop(`AWS is still at work on the stack (${status}). Wait for its end.`);
  }
  const of = await deployed(stage);
  const authType = of("ReceiverLambdaFunctionUrl").AuthType;
  const has = {
    subnetIds: of("SamplerLambdaFunction").VpcConfig?.SubnetIds?.[0],
    alarmTopicArn: of("SamplerSilentAlarm").AlarmActions?.[0],
    permissionsBoundaryArn: of("SamplerRole").PermissionsBoundary,
    urlAuthorizer: authType === "NONE" ? undefined : authType,
  };
  for (const [name, is] of Object.entries(has)) {
    if (!is || stage.given.includes(name)) continue;
    throw stop(`the stack has ${is}, and stages.yml lacks ${name} under ${stage.stage}.
Write that line. If it is to go, write none for a topic or a URL, and "" for the rest.`);
  }
}

export async function deploy(stage: Stage, options: string[] = []): Promise<void> {
  await checkStack(stage);
  const code = await program(["npx", "serverless", "deploy", "--stage", stage.stage, ...options]);
  if (code) throw new ProgramFailed(`serverless deploy has ended with ${code}.`);
}

/** Invokes the sampler, prints the counts, and fails where one is unknown. */
export async function tick({ stage }: Stage): Promise<void> {
  const invoked = new InvokeCommand({ FunctionName: `${service}-${stage}-sampler` });
  const { FunctionError, Payload } = await new LambdaClient(limits).send(invoked);
  const text = Buffer.from(Payload ?? "").toString();
  console.log(text);
  const log = `log has the reason: npx serverless logs -f sampler --stage ${stage}\ndocs/runbook/reasons.md`;
  if (FunctionError) throw new Correction(`The tick failed. Its ${log} says what helps.`);
  if (!Object.values(JSON.parse(text)).includes(-1)) return;
  throw new Correction(`A count of -1 is unknown. The ${log}#a-count-is-unknown says what helps.`);
}

export async function ping(stage: Stage): Promise<void> {
  if (stage.urlAuthorizer === "off") {
    console.log("No ping: without a URL, senders invoke the function, as docs/events.md says.");
    return;
  }
  const asked = new GetFunctionUrlConfigCommand({ FunctionName: `${service}-${stage.stage}-receiver` });
  const { FunctionUrl = "" } = await new LambdaClient(limits).send(asked);
  if (stage.urlAuthorizer === "none") await sendPing(stage, FunctionUrl);
  else console.log("No ping: the URL asks for a signature of AWS, too, which docs/events.md has.");
  console.log(`For the payments engineer: the URL is ${FunctionUrl}
and the secret is WEBHOOK_SECRET in Secrets Manager, in ${idsOf(stage, "receiver")}`);
}
