// The role by which people or GitHub Actions deploy: docs/who-may-deploy.md. An administrator of the account makes it.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import {
  AttachRolePolicyCommand,
  CreatePolicyCommand,
  CreatePolicyVersionCommand,
  CreateRoleCommand,
  DeletePolicyVersionCommand,
  GetPolicyCommand,
  GetRoleCommand,
  IAMClient,
  ListPolicyVersionsCommand,
  NoSuchEntityException,
  UpdateAssumeRolePolicyCommand,
} from "@aws-sdk/client-iam";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { limits } from "./clients.ts";
import { blocksIn, Correction, defaultRegion, list, readStages, type Stage, service, setName } from "./stage.ts";

const role = `deploy-${service}`;
const boundary = `${service}-boundary`;
const usage = `npm run aws -- role STAGE people ARN
npm run aws -- role STAGE github OWNER/NAME OWNER_ID NAME_ID`;

/** Makes the role, or renews it: it keeps whom it trusts, and the regions and networks of all stages. */
export async function makeRole({ stage, region }: Stage, [whom, who = "", ownerId = "", nameId = ""]: string[]) {
  const [, owner, name] = /^([A-Za-z0-9-]+)\/([A-Za-z0-9._-]+)$/.exec(who) ?? [];
  const isForGitHub = whom === "github" && owner && /^\d+ \d+$/.test(`${ownerId} ${nameId}`);
  if (whom === "people" && !/^arn:aws[a-z-]*:iam::\d{12}:(role|user)\/[A-Za-z0-9+=,.@_/-]+$/.test(who)) {
    throw new Correction(`${who || "That"} is no ARN of a role or user. Write:\n${usage}`);
  }
  if (whom !== "people" && !isForGitHub) throw new Correction(`Write:\n${usage}`);
  const { Account: account = "" } = await new STSClient(limits).send(new GetCallerIdentityCommand({}));
  const filled = (file: string) =>
    readFileSync(path.join(import.meta.dirname, "../../deploy", file), "utf8")
      .replaceAll("7654321", nameId)
      .replaceAll("@1234567", `@${ownerId}`)
      .replaceAll("repo:veza", `repo:${owner}`)
      .replaceAll(/\/veza-ledger-metrics(?=[@:])/g, `/${name}`)
      .replaceAll("123456789012", account);
  const regions = textsOf("region", defaultRegion);
  const policy = (file: string) =>
    JSON.stringify(
      everywhere(JSON.parse(filled(file)), {
        "eu-central-1": regions,
        "subnet-of-no-stage": textsOf("subnetIds"),
        "sg-of-no-stage": textsOf("securityGroupIds"),
      }),
    );
  const iam = new IAMClient(limits);
  await putPolicy(iam, account, boundary, policy("boundary.json"));
  await putPolicy(iam, account, role, policy("deployer.json"));
  const wanted = (isForGitHub ? JSON.parse(filled("trust.json")) : trustIn(who)) as Trust;
  const is = await trustOf(iam);
  const trust = JSON.stringify(is ? withTrust(is, wanted) : wanted);
  if (is) await iam.send(new UpdateAssumeRolePolicyCommand({ RoleName: role, PolicyDocument: trust }));
  else await iam.send(new CreateRoleCommand({ RoleName: role, AssumeRolePolicyDocument: trust }));
  await iam.send(new AttachRolePolicyCommand({ RoleName: role, PolicyArn: arnOf(account, role) }));
  console.log(`The role arn:aws:iam::${account}:role/${role} may deploy in ${regions.join(", ")}.`);
  // It may make roles within the boundary alone.
  setName(stage, "permissionsBoundaryArn", arnOf(account, boundary));
  if (isForGitHub) {
    mkdirSync(".github/workflows", { recursive: true });
    writeFileSync(".github/workflows/deploy.yml", filled("workflow.yml").replaceAll("eu-central-1", region));
  }
  console.log(`Commit stages.yml${isForGitHub ? " and .github/workflows/deploy.yml" : ""}.`);
}

const arnOf = (account: string, name: string) => `arn:aws:iam::${account}:policy/${name}`;

/** What the stages have for a name, each once: the role is for all of them. */
function textsOf(name: "region" | "subnetIds" | "securityGroupIds", byDefault = ""): string[] {
  const blocks = blocksIn(readStages()).flatMap(({ value }) => (Array.isArray(value) ? [value] : []));
  const texts = blocks.map((block) => block.find((entry) => entry.name === name)?.value || byDefault);
  return [...new Set(texts.flatMap((text) => (typeof text === "string" ? list(text) : [])))];
}

/** A document with each text once for each of the texts that stand for an example in it. */
function everywhere(document: unknown, instead: Record<string, string[]>): unknown {
  if (typeof document === "string") {
    const [example, texts = []] = Object.entries(instead).find(([example]) => document.includes(example)) ?? [];
    if (!example || texts.length === 0) return document;
    const all = texts.map((text) => document.replaceAll(example, text));
    return all.length === 1 ? all[0] : all;
  }
  if (Array.isArray(document)) return document.flatMap((item) => everywhere(item, instead));
  if (!(document instanceof Object)) return document;
  return Object.fromEntries(Object.entries(document).map(([name, value]) => [name, everywhere(value, instead)]));
}

interface Trust {
  Version: string;
  Statement: { Principal?: { AWS?: string }; Condition?: { StringEquals?: Record<string, unknown> } }[];
}

const trustIn = (arn: string) => ({
  Version: "2012-10-17",
  Statement: [{ Effect: "Allow", Action: "sts:AssumeRole", Principal: { AWS: arn } }],
});

/** Whom the role trusts; undefined where there is no role. */
async function trustOf(iam: IAMClient): Promise<Trust | undefined> {
  try {
    const { Role } = await iam.send(new GetRoleCommand({ RoleName: role }));
    return JSON.parse(decodeURIComponent(Role?.AssumeRolePolicyDocument ?? "{}"));
  } catch (error) {
    if (error instanceof NoSuchEntityException) return undefined;
    throw error;
  }
}

/** The trust that is there, and this one; the same repository and the same person once. */
function withTrust(is: Trust, wanted: Trust): Trust {
  const whomOf = ({ Principal, Condition }: Trust["Statement"][number]) =>
    Condition?.StringEquals?.["token.actions.githubusercontent.com:repository_id"] ?? JSON.stringify(Principal);
  const others = (is.Statement ?? []).filter((statement) => {
    const { AWS } = statement.Principal ?? {};
    if (typeof AWS === "string" && /^A(IDA|ROA)/.test(AWS)) {
      console.log(`Taken out: ${AWS}, which AWS no longer knows`); // It would refuse all of the trust.
      return false;
    }
    return !wanted.Statement.some((one) => whomOf(one) === whomOf(statement));
  });
  return { ...wanted, Statement: [...others, ...wanted.Statement] };
}

const isThere = (asked: Promise<unknown>): Promise<boolean> =>
  asked.then(
    () => true,
    (error) => {
      if (error instanceof NoSuchEntityException) return false;
      throw error;
    },
  );

/** Makes a policy, or a new version of it: AWS keeps five, so the oldest go. */
async function putPolicy(iam: IAMClient, account: string, name: string, PolicyDocument: string): Promise<void> {
  const PolicyArn = arnOf(account, name);
  if (!(await isThere(iam.send(new GetPolicyCommand({ PolicyArn }))))) {
    await iam.send(new CreatePolicyCommand({ PolicyName: name, PolicyDocument }));
    console.log(`Made: the policy ${name}`);
    return;
  }
  const { Versions = [] } = await iam.send(new ListPolicyVersionsCommand({ PolicyArn }));
  const old = Versions.filter(({ IsDefaultVersion }) => !IsDefaultVersion).sort(
    (one, other) => Number(one.CreateDate) - Number(other.CreateDate),
  );
  for (const { VersionId } of old.slice(0, Math.max(0, old.length - 3))) {
    await iam.send(new DeletePolicyVersionCommand({ PolicyArn, VersionId }));
  }
  await iam.send(new CreatePolicyVersionCommand({ PolicyArn, PolicyDocument, SetAsDefault: true }));
  console.log(`Renewed: the policy ${name}`);
}
