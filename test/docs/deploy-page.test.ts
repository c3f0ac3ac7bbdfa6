// The commands and examples of docs/who-may-deploy.md, docs/networks.md and docs/events.md, as they are printed.
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import path from "node:path";
import { expect, it } from "vitest";
import { demoSecret } from "../../commands/demo-secret.ts";
import { findProgram } from "../helpers/find-program.ts";
import { signedEvent } from "../helpers/lambda.ts";
import { needs } from "../helpers/needs.ts";
import { blocksOf, expectIn } from "../helpers/pages.ts";
import { runProgram } from "../helpers/processes.ts";
import { httpServer } from "../helpers/servers.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const deployers = await readFile("docs/who-may-deploy.md", "utf8");
const events = await readFile("docs/events.md", "utf8");
const example = (text: string, pattern: RegExp) => pattern.exec(text)?.[1] ?? "";

/** Runs commands of the page in this folder, with programs of these names that are shell scripts. */
async function runIn(folder: string, commands: string, programs: Record<string, string>) {
  const bin = await newFolder();
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(path.join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const program = runProgram("bash", ["-uo", "pipefail", "-c", `cd '${folder}'\n${commands}`], {
    PATH: `${bin}:${process.env.PATH}`,
  });
  await program.exited;
  return program.output();
}

it(
  "makes the deployer's role and policies from the files in deploy/, with the account's number, and edits none of them",
  await needs("bash"),
  async () => {
    const folder = await newFolder();
    await cp("deploy", path.join(folder, "deploy"), { recursive: true });
    const block = example(deployers, /```sh\n(\(set -e\npeople=[\s\S]*?)```/);
    const names = "AWS_REGION=eu-west-3 stage=prod";
    const filledIn = block.replace(
      "owner='' owner_id='' name='' name_id=''",
      "owner=shop owner_id=11 name=numbers name_id=22",
    );
    const commands = `${names}\n${filledIn}`;
    const aws = `case "$1 $2" in
    "sts get-caller-identity") echo 210987654321 ;;
    "iam get-policy" | "iam get-role") [ "$isThere" ] ;;
    "iam list-policy-versions") echo v3 v4 ;;
    *) echo "$*"; for word; do case $word in file://*) cat "\${word#file://}" >&2 || exit 1 ;; esac; done ;;
  esac`;
    const tooEarly = "Nothing was changed: stages.yml has no prod yet.\n";
    expect([await runIn(folder, commands, { aws }), await readdir(folder)]).toEqual([tooEarly, ["deploy"]]);
    await writeFile(path.join(folder, "stages.yml"), "dev:\n  region: eu-west-3\nprod:\n  region: eu-west-3\n");
    const printed = await runIn(folder, commands, { aws });
    expect(printed.match(/^iam .*/gm)?.map((line) => line.split(" ")[1])).toEqual([
      "create-policy",
      "create-policy",
      "create-role",
      "attach-role-policy",
    ]);
    expect(printed).toContain("--policy-arn arn:aws:iam::210987654321:policy/deploy-veza-ledger-metrics");
    expect(printed).toContain("210987654321:oidc-provider");
    expect(printed).toContain(
      '"repo:shop@11/numbers@22:environment:prod",\n            "repo:shop/numbers:environment:prod"',
    );
    expect(printed).toContain('"token.actions.githubusercontent.com:repository_id": "22"');
    const workflow = await readFile(path.join(folder, ".github/workflows/deploy.yml"), "utf8");
    expect(workflow).toContain("210987654321:role/deploy-veza-ledger-metrics\n          aws-region: eu-west-3");
    expect(printed + workflow).not.toMatch(/123456789012|eu-central-1|@1234567|@7654321|"7654321"/);
    expect(printed).toContain("function:veza-ledger-metrics-*"); // The service's own name stays.
    expect(await readdir(folder)).toEqual([".github", "deploy", "stages.yml"]);
    const boundary = "permissionsBoundaryArn: arn:aws:iam::210987654321:policy/veza-ledger-metrics-boundary";
    const stages = `dev:\n  region: eu-west-3\nprod:\n  ${boundary}\n  region: eu-west-3\n`;
    expect(await readFile(path.join(folder, "stages.yml"), "utf8")).toBe(stages);
    expect(await runIn(folder, `${names}\n${block}`, { aws })).toMatch(/: owner: parameter null or not set\n$/);
    // Again, after a failure or at an upgrade.
    const again = await runIn(folder, `export isThere=yes\n${commands}`, { aws });
    expect(await readFile(path.join(folder, "stages.yml"), "utf8")).toBe(stages);
    const newVersion = ["delete-policy-version", "delete-policy-version", "create-policy-version"];
    expect(again.match(/^iam .*/gm)?.map((line) => line.split(" ")[1])).toEqual([
      ...newVersion,
      ...newVersion,
      "update-assume-role-policy",
      "attach-role-policy",
    ]);
    const people = "arn:aws:iam::210987654321:role/engineers";
    expect(await runIn(folder, commands.replace("people=''", `people=${people}`), { aws })).toContain(
      `"Action": "sts:AssumeRole", "Principal": { "AWS": "${people}" }`,
    );
    for (const file of await readdir("deploy")) {
      expect(await readFile(path.join(folder, "deploy", file), "utf8")).toBe(await readFile(`deploy/${file}`, "utf8"));
    }
  },
);

it(
  "leads the name of Postgres to the tunnel for as long as it is open, however it ends",
  await needs("bash"),
  async () => {
    const folder = await newFolder();
    const hosts = path.join(folder, "hosts");
    const before = "127.0.0.1 localhost\n10.0.0.9 another.db\n";
    await writeFile(hosts, before);
    const block = example(await readFile("docs/networks.md", "utf8"), /```sh\n(\(host=HOST[\s\S]*?)```/);
    const commands = block.replaceAll("/etc/hosts", hosts).replace("HOST", "ledger.db");
    const ssh = `echo "$*"; cat '${hosts}'; exit 255`;
    const printed = await runIn(folder, commands, { ssh, sudo: 'exec "$@"' });
    const options = "-N -o ExitOnForwardFailure=yes -L 127.0.0.1:5432:ledger.db:5432 BASTION\n";
    expect(printed).toBe(`127.0.0.1 ledger.db # tunnel\n${options}${before}127.0.0.1 ledger.db # tunnel\n`);
    expect(await readFile(hosts, "utf8")).toBe(before);
  },
);

it("docs/deploy.md says how many functions an account has to be able to run for a stage", async () => {
  const [, receivers] = /receiverConcurrency: (\d+)/.exec(await readFile("serverless.yml", "utf8")) ?? [];
  const reserved = Number(receivers) + 1;
  const keptByAws = 100;
  const text = `A stage reserves ${reserved} executions, and AWS wants ${keptByAws} left. If this prints less than ${keptByAws + reserved}`;
  await expectIn([["docs/deploy.md", text]]);
});

it.each([
  "deploy",
  "passwords",
  "who-may-deploy",
  "drill",
  "alarms",
  "rotation",
  "removal",
  "first-day",
  "people-on-call",
])("docs/%s.md has no comment in its blocks, which zsh would run as a command", async (page) => {
  const blocks = (await blocksOf(`docs/${page}.md`, "sh")).join("").replaceAll(/'[^']*'|"[^"]*"/g, "");
  expect(blocks.match(/^.*(?<!\S)#.*$/gm)).toBeNull();
});

it("docs/deploy.md says whether a page of the stage goes to people, and that the examples are still there", async () => {
  const block = (await blocksOf("docs/deploy.md", "sh")).find((text) => text.includes("route=")) ?? "";
  const { file } = await findProgram("amtool");
  const folder = await newFolder();
  const shipped = await readFile("config/alertmanager/alertmanager.yml", "utf8");
  const config = path.join(folder, "alertmanager.yml");
  const saysOf = async (text: string, stage: string) => {
    await writeFile(config, text);
    const said = await runIn(folder, `alertmanager='${config}' stage='${stage}'\n${block}`, {
      amtool: `exec '${file}' "$@"`,
    });
    return said.replace(/^Warning: --config\.file flag overrides .*\n/, ""); // amtool's own, on any call with a file.
  };
  expect(await saysOf(shipped, "prod")).toMatch(
    /^Right: prod's pages go to pages\.\n\d+: .*127\.0\.0\.1:9999[\s\S]*\nWrong: these are examples\.\n$/,
  );
  const filledIn = shipped.replaceAll("127.0.0.1:9999", "pager.example.com").replaceAll("pages", "veza-ledger-pages");
  expect(await saysOf(filledIn, "prod")).toBe("Right: prod's pages go to veza-ledger-pages.\n");
  expect(await saysOf(filledIn, "shop")).toBe("Wrong, if customers pay on shop: its pages go to tickets.\n");
});

it("docs/rotation.md stores what somebody has edited if it is a JSON object, and says why if it is none", async () => {
  const [block = ""] = await blocksOf("docs/rotation.md", "sh");
  const folder = await newFolder();
  const aws = `case "$2" in
    get-secret-value) echo '{ "STAGE": "prod" }' ;;
    put-secret-value) echo "$4"; cat "\${6#file://}" ;;
  esac`;
  const edit = (editor: string) =>
    runIn(folder, `stage=prod; function=; unset EDITOR\n${block}`, { aws, vi: `${editor}` });
  const stored = 'veza-ledger-metrics/prod/sampler\n{ "STAGE": "shop" }\n';
  expect(await edit(`sed -i s/prod/shop/ "$1"`)).toBe(stored);
  expect(await edit("")).toMatch(/^Nothing was changed\. If you have changed it, vi did not wait /);
  for (const broken of ["s/}/,}/", "s/.*/prod/", "d", `s/.*/"prod"/`]) {
    expect(await edit(`sed -i '${broken}' "$1"`)).toMatch(/^Nothing was changed: this is no JSON object\./);
  }
});

it("docs/removal.md deletes the topic that docs/alarms.md makes, and no other, which may have other alarms", async () => {
  const block = (await blocksOf("docs/removal.md", "sh")).find((text) => text.includes("delete-topic")) ?? "";
  const folder = await newFolder();
  const remove = (topic: string) => runIn(folder, `topic='${topic}'\n${block}`, { aws: 'echo "$*"' });
  const [, made = ""] = /create-topic .*--name (\S+)/.exec(await readFile("docs/alarms.md", "utf8")) ?? [];
  const arnOf = (name: string) => `arn:aws:sns:eu-central-1:123456789012:${name}`;
  expect(await remove(arnOf(made))).toBe(`sns delete-topic --topic-arn ${arnOf(made)}\n`);
  for (const topic of [arnOf("pager"), arnOf(`shop-${made}`), "none"]) {
    expect(await remove(topic)).toBe(`Kept, since it may have other alarms: ${topic}\n`);
  }
});

it.each([
  ["links=", "repository", "grafana=https://grafana.internal repository="],
  ["route=", "alertmanager", "stage=prod alertmanager="],
])("docs/deploy.md: the block with %s stops without %s, and says so", async (begin, missing, names) => {
  const block = (await blocksOf("docs/deploy.md", "sh")).find((text) => text.includes(begin)) ?? "";
  const folder = await newFolder();
  // Only an interactive shell goes on behind a line that has failed, as where people paste.
  const pasted = `bash --norc --noediting -i <<'PASTED'\n${names}\n${block}\nPASTED`;
  const said = await runIn(folder, pasted, { amtool: "echo pages" });
  expect(said).toContain(`bash: ${missing}: parameter null or not set`);
  expect(said).not.toMatch(/Wrong|Right/);
  expect(await readdir(folder)).toEqual([]);
});

it("deploy/names.sh fetches Amazon's authorities only if you name none, and no step runs if yours is absent", async () => {
  const names = await readFile("deploy/names.sh", "utf8");
  const folder = await newFolder();
  const curl = `while [ "$1" != -sSfo ]; do shift; done; echo amazon >"$2"`;
  const load = (authority: string) => {
    const filledIn = names.replace("authority=''", `authority='${authority}'`);
    return runIn(folder, `HOME='${folder}'\n${filledIn}\necho "$PGSSLROOTCERT \${stage-none}"`, { curl });
  };
  for (const absent of ["~/own.pem", `${folder}/own.pem`]) {
    expect(await load(absent)).toBe(
      `authority names no file: ${absent}. Write its whole path, without ~, and load your names again.\n${absent} none\n`,
    );
  }
  expect(await readdir(folder)).toEqual([]);
  expect(await load("")).toBe(`${folder}/rds.pem prod\n`);
  expect(await readFile(path.join(folder, "rds.pem"), "utf8")).toBe("amazon\n");
  expect(await load(`${folder}/rds.pem`)).toBe(`${folder}/rds.pem prod\n`);
});

it("docs/deploy.md is read in less than 8 minutes, at 230 words a minute", async () => {
  expect((await readFile("docs/deploy.md", "utf8")).split(/\s+/).length).toBeLessThan(8 * 230);
});

it("shows the smallest event that the receiver takes when it is invoked directly", () => {
  const event = JSON.parse(example(events, /```json\n(\{\n {2}"headers"[\s\S]*?)```/));
  const id = event.headers["webhook-id"];
  const atMs = Number(event.headers["webhook-timestamp"]) * 1000;
  expect(event).toEqual(signedEvent(demoSecret, "[]", { id, atMs }));
});

const signing = "has a curl example that signs for AWS, with a session's token, what the receiver needs";
it(signing, await needs("bash", "curl"), async () => {
  const seen: IncomingHttpHeaders[] = [];
  const url = await httpServer((request, response) => {
    seen.push(request.headers);
    response.end();
  });
  const command = example(events, /```sh\n(curl .*--aws-sigv4[\s\S]*?)```/);
  const curl = runProgram("bash", ["-euo", "pipefail", "-c", command], {
    AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
    AWS_SECRET_ACCESS_KEY: "secret",
    AWS_SESSION_TOKEN: "session",
    AWS_REGION: undefined,
    url,
    id: "msg_1",
    now: "1769860800",
    signature: "c2lnbmF0dXJl",
    body: "[]",
  });
  await curl.exited;
  expect([curl.child.exitCode, seen.length]).toEqual([0, 1]);
  expect(seen[0]).toMatchObject({
    authorization: expect.stringMatching(
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-central-1\/lambda\/aws4_request, ?SignedHeaders=\S*host;/,
    ),
    "x-amz-security-token": "session",
    "webhook-id": "msg_1",
    "webhook-timestamp": "1769860800",
    "webhook-signature": "v1,c2lnbmF0dXJl",
  });
  expect(seen[0]?.authorization).toMatch(/SignedHeaders=\S*;x-amz-security-token[;,]/);
});
