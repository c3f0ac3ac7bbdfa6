// A stage on AWS: its block in stages.yml has all about it that is no secret. Serverless and `npm run aws` read it.
import { existsSync, readFileSync, realpathSync } from "node:fs";
import path from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { authorityProblem, type Kind, matching, kinds as shared, type Texts } from "../kinds.ts";
import { example, namesIn } from "../names.ts";
import { type Entry, readYaml, YamlFault } from "../yaml.ts";
import { put } from "./put.ts";

const folder = path.join(import.meta.dirname, "../..");
const file = path.join(folder, "stages.yml");

/** Lambda's names begin with it. */
export const service: string = manifest.name;

/** A person has to correct something. Serverless prints an error's stack, which would tell them nothing. */
export class Correction extends Error {
  constructor(message: string) {
    super(message);
    this.stack = message;
  }
}

/** The items of a list that commas separate. */
export const list = (text: string): string[] =>
  text
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean);

/** A file for the whole team, which may be committed, has no logins in its URLs. */
const withoutLogin = (kind: Kind): Kind => ({
  words: kind.words,
  problem(text, all) {
    const { username, password } = URL.parse(text) ?? {};
    return kind.problem(text, all) ?? (username || password ? "has a login in it, which is for no file" : undefined);
  },
});

const arnOf = (of: string, region: string, rest: string) =>
  new RegExp(`^arn:aws[\\w-]*:${of}:${region}:\\d{12}:${rest}$`);

const secretIds = matching(
  "names of secrets, or their whole ARNs in this region with the last six characters, separated by commas",
  (text, { region = "" }) =>
    list(text).every((id) =>
      id.startsWith("arn:")
        ? arnOf("secretsmanager", region, "secret:[\\w/+=.@!-]+-[A-Za-z0-9]{6}").test(id)
        : /^[\w/+=.@!-]+$/.test(id),
    ),
);

/** Whether a text is a list of ids that begin so, and the other list is there, too. */
const idsWith = (beginning: string, other: string) => (text: string, all: Texts) =>
  Boolean(all[other]) && list(text).every((id) => new RegExp(`^${beginning}-[0-9a-f]+$`).test(id));

/** The names of a block. stage.yml explains each. */
const kinds = {
  region: {
    words: shared.region.words,
    problem(text, all) {
      const [, ofDatabase = text] = /\.([a-z0-9-]+)\.rds\.amazonaws\.com/.exec(all.database ?? "") ?? [];
      return shared.region.problem(text, all) ?? (text === ofDatabase ? undefined : "is not the region of database");
    },
  },
  database: shared.database,
  admin: { words: "the login alone, or none", problem: shared.admin.problem },
  reader: shared.reader,
  schema: shared.schema,
  timezone: shared.timezone,
  ca: { words: shared.ca.words, problem: (text) => authorityProblem(path.resolve(folder, text)) },
  gateway: withoutLogin(shared.gateway),
  token: { words: "nothing", problem: () => "is a secret: take it away here. The step secrets asks for it" },
  repository: withoutLogin(shared.repository),
  grafana: withoutLogin(shared.grafana),
  prometheus: withoutLogin(shared.prometheus),
  alertmanager: withoutLogin(shared.alertmanager),
  hyperswitch: withoutLogin(shared.hyperswitch),
  alarmTopicArn: matching(
    "the ARN of an SNS topic in this region that the alarms notify, or none, where nobody is told",
    (text, { region = "" }) => text === "none" || arnOf("sns", region, "[\\w.-]+").test(text),
  ),
  iam: matching("yes or no", /^(yes|no)$/),
  databaseResourceId: matching("db-ABCDEFGHIJKL, cluster-ABCDEFGHIJKL or prx-1234abcd", /^(db|cluster|prx)-\w+$/),
  samplerSecretId: secretIds,
  receiverSecretId: secretIds,
  kmsKeyArn: matching("the ARN of a key in this region, not of an alias", (text, { region = "" }) =>
    arnOf("kms", region, "key/[\\w-]+").test(text),
  ),
  subnetIds: matching("subnets, separated by commas, and securityGroupIds", idsWith("subnet", "securityGroupIds")),
  securityGroupIds: matching("security groups, separated by commas, and subnetIds", idsWith("sg", "subnetIds")),
  urlAuthorizer: matching("none, aws_iam or off", /^(none|aws_iam|off)$/),
  receiverConcurrency: matching("a number above 0, or off", /^([1-9]\d*|off)$/),
  permissionsBoundaryArn: matching("the ARN of a policy", /^arn:aws[a-z-]*:iam::(\d{12}|aws):policy\/\S+$/),
} satisfies Record<string, Kind>;

export type Name = keyof typeof kinds;
/** A stage. A name has an empty text where neither the block nor a default has one. */
export interface Stage extends Record<Name, string> {
  stage: string;
  tags: Record<string, string>;
  /** The names that the block has, perhaps empty. */
  given: string[];
}

/** The region of a block without a line for it. */
export const defaultRegion = "eu-central-1";

const defaultsOf = (stage: string) => ({
  region: defaultRegion,
  schema: "public",
  timezone: "UTC",
  iam: "yes",
  samplerSecretId: `${service}/${stage}/sampler`,
  receiverSecretId: `${service}/${stage}/receiver`,
  receiverConcurrency: "5",
  urlAuthorizer: "none",
});

/** The text of stages.yml; empty where there is none. */
export const readStages = (): string => (existsSync(file) ? readFileSync(file, "utf8") : "");

/** The blocks in a text of stages.yml. Throws a Correction where it is no YAML of blocks. */
export function blocksIn(text: string): Entry[] {
  try {
    return readYaml(text);
  } catch (error) {
    if (!(error instanceof YamlFault)) throw error;
    throw new Correction(`stages.yml${error.line ? `:${error.line}` : ""}: ${error.message}`);
  }
}

/**
 * The block of a stage in a text of stages.yml, with its defaults. Throws one Correction that names all that is wrong
 * there, and which of the needed names are empty.
 */
export function stageIn(text: string, stage: string, needed: readonly Name[], isExample = example): Stage {
  checkStage(stage);
  const [block, again] = blocksIn(text).filter(({ name }) => name === stage);
  if (!block) throw new Correction(`stages.yml has no block of ${stage}: run npm run aws -- names ${stage}`);
  if (again) throw new Correction(`stages.yml:${again.line}: ${stage} is here twice: it is in line ${block.line}, too`);
  const { line, value: entries } = block;
  if (!Array.isArray(entries)) {
    throw new Correction(
      `stages.yml:${line}: ${stage} has no names under it. Delete it there, and run npm run aws -- names ${stage}`,
    );
  }
  const defaults = defaultsOf(stage);
  const { texts, problems } = namesIn(
    entries.filter(({ name }) => name !== "tags"),
    { file: "stages.yml", kinds, defaults, needed: [...needed, ...(Object.keys(defaults) as Name[])], isExample },
    line,
  );
  const tags = entries.find(({ name }) => name === "tags");
  const tagTexts = tags?.value || [];
  const areTexts = Array.isArray(tagTexts) && tagTexts.every(({ value }) => typeof value === "string");
  if (!areTexts) {
    problems.push(`stages.yml:${tags?.line}: tags is of the wrong kind: write texts, as { team: payments }`);
  }
  if (problems.length > 0) {
    throw new Correction(["Correct these, and run the same line again:", ...problems].join("\n  "));
  }
  const tagsOf = areTexts ? tagTexts.map(({ name, value }) => [name, String(value)]) : [];
  return { ...texts, stage, tags: Object.fromEntries(tagsOf), given: entries.map(({ name }) => name) };
}

function checkStage(stage: string): void {
  const longest = `${service}-${stage}-receiver`;
  if (/^[A-Za-z0-9-]+$/.test(stage) && stage !== "drill" && longest.length <= 64) return;
  const why = stage === "drill" ? "docs/drill.md uses it" : "write letters, digits and hyphens, at most 36";
  throw new Correction(`${stage} can be no stage: ${why}`);
}

/**
 * Adds a block to stages.yml for a stage that has none, by stage.yml. Returns whether it was added. Throws a Correction
 * where there can be no such stage.
 */
export function addBlock(stage: string): boolean {
  checkStage(stage);
  const text = readStages();
  if (blocksIn(text).some(({ name }) => name === stage)) return false;
  const template = readFileSync(path.join(import.meta.dirname, "stage.yml"), "utf8").replaceAll("STAGE", stage);
  const added = text ? `${text.trimEnd()}\n\n${template}` : template;
  blocksIn(added); // A file in one line, between { and }, takes no block.
  write(added);
  return true;
}

/**
 * Writes a name that a step has found into the block of a stage, before its first line. Throws a Correction with the
 * line to write where the name is there already, with another text, or where the block is in one line.
 */
export function setName(stage: string, name: Name, value: string): void {
  const text = readStages();
  const block = blocksIn(text).find((entry) => entry.name === stage);
  const entries = Array.isArray(block?.value) ? block.value : [];
  const is = entries.find((entry) => entry.name === name);
  if (is?.value === value) return;
  const [first] = entries;
  const line = `${name}: ${JSON.stringify(value)}`;
  const lines = text.split("\n");
  const [, indent, end] = /^( +)\S.*?(\r?)$/.exec(lines[(first?.line ?? 0) - 1] ?? "") ?? [];
  if (is || !indent || first?.line === block?.line) {
    const where = is ? `in the place of line ${is.line}` : `under ${stage}`;
    throw new Correction(`Write this line into stages.yml, ${where}:\n  ${line}`);
  }
  write(lines.toSpliced((first?.line ?? 0) - 1, 0, `${indent}${line}${end}`).join("\n"));
  console.log(`stages.yml: ${name} is ${value}`);
}

/** Writes the whole of stages.yml, or nothing. It may be a link to a file elsewhere. */
function write(text: string): void {
  put(existsSync(file) ? realpathSync(file) : file, text);
}
