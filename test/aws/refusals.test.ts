// Where deploy/aws.sh stops: with a sentence, the remedy, and nothing half done.
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { names, newClone } from "../helpers/aws.ts";
import { needs } from "../helpers/needs.ts";

const filledIn = {
  ...names,
  database: "shop.abc.eu-central-1.rds.amazonaws.com:5432/ledger",
  gateway: "https://push.internal",
  authority: "/dev/null", // So that no certificate is fetched.
};

const clone = await newClone("prod");
const file = path.join(clone.project, "names-prod.sh");
beforeEach(() => rm(file, { force: true }));

describe("names", () => {
  const isIn = (name: string, sentence: string) => `\n  ${name} ${sentence}`;
  it.each([
    {
      admin: ["master:pass", "is of the wrong kind: write the login alone"],
      alarmTopicArn: [
        "arn:aws:sns:eu-west-1:210987654321:alarms",
        "is of the wrong kind: write the ARN of an SNS topic in",
      ],
      authority: ["~/own.pem", "names no file: write its whole path"],
      database: ["", "is empty: write HOST:5432/DATABASE"],
      gateway: ["push.internal:9091", "is of the wrong kind: write its URL"],
      iam: ["true", "is of the wrong kind: write yes or no"],
      repository: ["https://github.com/OWNER/NAME/blob/main", "is still an example"],
      schema: ["views, public", "is of the wrong kind: write one schema"],
      timezone: ["+01", "is of the wrong kind: write a zone"],
      subnetIds: ["subnet-0123abcd", "is still an example"],
      urlAuthorizer: ["iam", "is of the wrong kind: write none, aws_iam or off"],
    },
    {
      database: ["postgres://master@shop.internal:5432/ledger", "is of the wrong kind: write HOST:5432/DATABASE"],
      gateway: ["https://push.example.com", "is still an example"],
      timezone: ["Europe/Pariss", "is unknown: write a zone"],
    },
    {
      region: ["eu-west-3", "is eu-west-3, and database is in another"],
      alarmTopicArn: [names.alarmTopicArn, "is of the wrong kind: write the ARN of an SNS topic in eu-west-3"],
    },
  ])("%o are named, each with its remedy", async (wrong: Record<string, string[]>) => {
    const values = Object.entries(wrong).map(([name, [value = ""]]) => [name, value]);
    const { exitCode, output } = await clone.fillIn({ ...filledIn, ...Object.fromEntries(values) });
    expect([exitCode, output]).toEqual([
      1,
      expect.stringMatching(/^Nothing was changed\. Correct these in names-prod\.sh/),
    ]);
    for (const [name, [, sentence = ""]] of Object.entries(wrong)) expect(output).toContain(isIn(name, sentence));
    expect(output.match(/^ {2}\w+ is /gm)?.length).toBe(values.length - ("authority" in wrong ? 1 : 0));
  });

  it("that no shell can read, or that are not there", async () => {
    await writeFile(file, "database='shop\n");
    expect((await clone.run("deploy/aws.sh prod")).output).toMatch(
      /Nothing was changed: names-prod\.sh cannot be read\./,
    );
    // A quote that is missing before a comment with another one is found only when the file is read.
    await writeFile(file, "schema='public # the ledger's schema\ntimezone='UTC'\n");
    expect((await clone.run("deploy/aws.sh prod")).output).toMatch(
      /command not found\nStopped at: names-prod\.sh\. Is a quote missing, or one too many\?/,
    );
    for (const [line, exitCode, sentence] of [
      ["look staging", 1, "There is no names-staging.sh yet: run deploy/aws.sh names staging"],
      ["looks", 1, "There is no command looks, and no names-looks.sh.\nThe commands: deploy/aws.sh --help\n"],
      ["looks prod", 2, "There is no command looks."],
      ["prod look", 2, "There is no command prod."],
      ["look prod now", 2, "look takes one stage alone."],
      ["look", 2, "Which stage?"],
      ["drill", 2, "Which stage?"],
      ["names drill", 2, "drill can be no stage: "],
      ["a_b", 2, "a_b can be no stage: "],
    ] as const) {
      expect(await clone.run(`deploy/aws.sh ${line}`)).toEqual({ exitCode, output: expect.stringContaining(sentence) });
    }
  });

  it("that are not known", async () => {
    await writeFile(file, "securityGroups='sg-12ab'\n");
    const { output } = await clone.run("deploy/aws.sh prod");
    expect(output).toContain(isIn("securityGroups", "is not known: is it misspelt?"));
  });

  it("of the shell that it is started in do not count", async () => {
    await writeFile(file, "region='eu-central-1'\n");
    const { output } = await clone.run("deploy/aws.sh prod", "", filledIn);
    expect(output).toMatch(/\n {2}database is empty/);
  });
});

describe("before anything is deployed, it stops", () => {
  const steps = async (changes: object, more = {}) => {
    await clone.fillIn({ ...filledIn, iam: "yes", ...changes });
    return (await clone.run("deploy/aws.sh prod", "", more)).output;
  };
  const written = async () => (await readdir(clone.project)).filter((name) => /^(stages|dist)/.test(name));

  it("where RDS has other changes that are pending, which are not ours to apply", async () => {
    await clone.answer("pending", '{\n  "DBInstanceClass": "db.t4g.large"\n}');
    const output = await steps({});
    expect(output).toContain("Nothing was changed: shop has pending changes, {DBInstanceClass:db.t4g.large}. Wait for");
    expect(output).toMatch(/\nStopped at: IAM\. Run the same line again: what is done is kept\.\n$/);
    expect([await clone.calls(), await written()]).toEqual([expect.not.stringContaining("modify"), []]);
    await clone.answer("pending", "null");
  });

  it("where a right is missing, and says where they are listed", async () => {
    const output = await steps({}, { AWS_REFUSES: "modify-db-instance" });
    expect(output).toMatch(/AccessDenied[\s\S]*\nStopped at: IAM\. If a right is missing: docs\/who-may-deploy\.md\. /);
    expect(await written()).toEqual([]);
  });

  it("where the stage has a block in stages.yml that is one line", async () => {
    await writeFile(path.join(clone.project, "stages.yml"), "prod: { alarmTopicArn: none }\n");
    const output = await steps({ iam: "no" });
    expect(output).toContain("Write the block of prod in stages.yml in lines of its own");
    expect(await clone.stages()).toEqual({ prod: { alarmTopicArn: "none" } });
  });

  it("where a secret may not be read, or waits for its deletion; the block of the stage is there by then", async () => {
    const stages = "dev:\n  region: eu-west-1\n# Ours.\nprod:\n  tags: { team: payments }\n  alarmTopicArn: none\n";
    await writeFile(path.join(clone.project, "stages.yml"), stages);
    const database = "shop.cluster-abc.eu-central-1.rds.amazonaws.com:5432/ledger";
    const subnets = { subnetIds: "subnet-12ab, subnet-34cd", securityGroupIds: "sg-12ab" };
    const output = await steps({ admin: "none", database, ...subnets }, { AWS_REFUSES: "get-secret-value" });
    expect(output).toContain(
      "Your DBA runs, in this folder: psql -v schema=veza -v timezone=UTC -v iam=yes -f config/",
    );
    expect(output).toMatch(
      /AccessDenied[\s\S]*\nStopped at: secrets\. .* aws secretsmanager restore-secret --secret-id /,
    );
    expect(await clone.stages()).toEqual({
      dev: { region: "eu-west-1" },
      prod: {
        region: "eu-central-1",
        databaseResourceId: "cluster-ABCDEFGHIJKL01234",
        alarmTopicArn: names.alarmTopicArn,
        subnetIds: "subnet-12ab, subnet-34cd",
        securityGroupIds: "sg-12ab",
        tags: { team: "payments" },
      },
    });
    // An empty name leaves the line that is there.
    const without = { admin: "none", database, subnetIds: "", securityGroupIds: "", permissionsBoundaryArn: "" };
    expect(await steps(without, { AWS_REFUSES: "get-secret-value" })).not.toContain("and was");
    expect(await clone.stages()).toMatchObject({ prod: { subnetIds: "subnet-12ab, subnet-34cd" } });
  });
});

describe("deploy/aws.sh deploy, which a pipeline runs without names,", async () => {
  const clone = await newClone("prod");
  await clone.answer("counts", '{"stuck_orders":10}');
  const deploy = async (block: string[], answers: Record<string, string> = {}) => {
    await writeFile(path.join(clone.project, "stages.yml"), ["prod:", ...block].join("\n  "));
    for (const [name, text] of Object.entries(answers)) await clone.answer(name, text);
    const before = (await clone.calls()).length;
    const { exitCode, output } = await clone.run("deploy/aws.sh deploy prod --package build");
    return { exitCode, output, deployed: (await clone.calls()).slice(before).includes("npx serverless deploy") };
  };
  const alarms = "alarmTopicArn: none";

  it("stops where a first deployment would fail", async () => {
    const sentence = expect.stringMatching(/^stages\.yml has no block for prod with alarmTopicArn\.\n$/);
    expect(await deploy([])).toEqual({ exitCode: 1, output: sentence, deployed: false });
    const { output, deployed } = await deploy([alarms], { limit: "10" });
    expect([output, deployed]).toEqual([expect.stringMatching(/^Nothing was deployed: this account runs 10 /), false]);
    expect(await deploy([alarms, 'receiverConcurrency: "off"'])).toMatchObject({ exitCode: 0, deployed: true });
    expect(await clone.calls()).toMatch(/^npx serverless deploy --stage prod --package build$/m);
  });

  it.each([
    [
      "ROLLBACK_COMPLETE",
      "the stack's creation has failed (ROLLBACK_COMPLETE). Delete it first:\nnpx serverless remove",
    ],
    ["UPDATE_IN_PROGRESS", "AWS is still at work on the stack (UPDATE_IN_PROGRESS). Wait for its end."],
  ])("stops where the stack is in %s", async (stack, sentence) => {
    const { output, deployed } = await deploy([alarms], { stack });
    expect([output, deployed]).toEqual([expect.stringContaining(`Nothing was deployed: ${sentence}`), false]);
  });

  const boundary = "arn:aws:iam::210987654321:policy/boundary";
  it.each([
    ["subnetIds", "subnet-1", ["subnet-1", "None", "None", "NONE"], '""'],
    ["permissionsBoundaryArn", boundary, ["None", "None", boundary, "NONE"], '""'],
    ["urlAuthorizer", "AWS_IAM", ["None", "None", "None", "AWS_IAM"], "none"],
  ])("stops where the stack has %s, and its stage does not mention it", async (param, value, facts, none) => {
    const answers = { stack: "UPDATE_ROLLBACK_COMPLETE", facts: facts.join("\t") };
    const { exitCode, output, deployed } = await deploy([alarms], answers);
    expect([exitCode, deployed]).toEqual([1, false]);
    expect(output).toContain(`Nothing was deployed: the stack has ${value}, and stages.yml lacks ${param} under prod.`);
    expect(await deploy([alarms, `${param}: ${none}`])).toMatchObject({ exitCode: 0, deployed: true });
  });

  it("fails where the stack cannot be read, where the tick fails, and where it counts -1", async () => {
    await clone.answer("stack", "CREATE_COMPLETE");
    const { output } = await clone.run("deploy/aws.sh deploy prod", "", { AWS_REFUSES: "describe-stacks" });
    expect(output).toContain("AccessDenied");
    const unknown = await deploy([alarms], { facts: "None\tNone\tNone\tNONE", counts: '{"stuck_orders":-1}' });
    expect(unknown).toMatchObject({ exitCode: 1, output: expect.stringContaining("A count of -1 is unknown.") });
    expect(await deploy([alarms], { counts: "{}", failed: "Unhandled" })).toMatchObject({ exitCode: 1 });
  });
});

it("deploy/aws.sh secret stores what somebody has edited if it is a JSON object, and says why if it is none", async () => {
  await clone.fillIn(filledIn);
  const edit = (EDITOR?: string, name = "sampler") => clone.run(`deploy/aws.sh secret prod ${name}`, "", { EDITOR });
  const id = "veza-ledger-metrics/prod/sampler";
  expect((await edit("true")).output).toBe(`There is no secret ${id} yet: deploy/aws.sh prod makes it.\n`);
  clone.secrets[id] = '{ "STAGE": "prod" }\n';
  expect((await edit()).output).toBe("There is no terminal for vi: write another editor into EDITOR.\n");
  expect((await edit("true", "other")).output).toBe("Write deploy/aws.sh secret prod sampler, or receiver.\n");
  expect((await edit("sed -i s/prod/shop/")).output).toMatch(
    /^version\nStored\. .* Look again: deploy\/aws\.sh look prod/,
  );
  expect(clone.secrets[id]).toBe('{ "STAGE": "shop" }\n');
  expect((await edit("true")).output).toMatch(/^Nothing was changed\. If you have changed it, true did not wait /);
  for (const broken of ["s/}/,}/", "s/.*/[]/", "s/.*/null/"]) {
    expect((await edit(`sed -i '${broken}'`)).output).toMatch(/^Nothing was changed: this is no JSON object\./);
  }
  expect(clone.secrets[id]).toBe('{ "STAGE": "shop" }\n');
});

it("writes a whole file or none, after Ctrl-C and on a full disk: stages.yml, rules, and that of people on call", async () => {
  const clone = await newClone("shop");
  await clone.fillIn({ ...filledIn, iam: "no" });
  const files = async () =>
    (await readdir(clone.project, { recursive: true })).filter((name) => !/^(node_modules|\.cache)/.test(name));
  const before = await files();
  for (const [line, part, program] of [
    ["shop", "stages.yml.part", "awk -v stage=shop"],
    ["rules shop", "dist/ledger.yml.part", "sed s|https://repository"],
    ["oncall shop", "oncall-shop.mjs.next", ""],
  ] as const) {
    if (program) {
      const run = clone.start(`deploy/aws.sh ${line}`, "", { AWS_STOPS: program });
      await clone.stopped();
      run.signal("SIGINT");
      expect(await run.ended).toMatchObject({ exitCode: 130 });
    }
    await mkdir(path.join(clone.project, "dist"), { recursive: true });
    await symlink("/dev/full", path.join(clone.project, part));
    const { exitCode, output } = await clone.run(`deploy/aws.sh ${line}`);
    expect([line, exitCode, output]).toEqual([line, expect.any(Number), expect.stringMatching(/no space left/i)]);
    expect(exitCode).not.toBe(0);
    expect(output.split("\n").length, "a sentence, and not one for each line").toBeLessThan(6);
    await rm(path.join(clone.project, "dist"), { recursive: true });
    expect(await files()).toEqual(before);
  }
});

it("deploy/aws.sh rules puts your addresses into the links, and says where a page goes", async () => {
  await clone.fillIn(filledIn);
  const { output } = await clone.run("cp names-prod.sh names-shop.sh; deploy/aws.sh rules shop");
  expect(output).toContain(
    "A page of shop is a ticket. If customers pay there, add shop to prod|drill| in your route.",
  );
  for (const name of ["ledger.yml", "ledger.json"]) {
    const text = await readFile(path.join(clone.project, "dist", name), "utf8");
    expect(text).not.toMatch(/(repository|grafana)\.example/);
    expect(text).toMatch(/https:\/\/(git|grafana)\.internal/);
  }
});

it("deploy/aws.sh oncall writes the file of people on call, without a password, and says what does not answer", async () => {
  await clone.fillIn({ ...filledIn, gateway: "http://user:s3cret@127.0.0.1:4", database: "127.0.0.1:4/ledger" });
  const { exitCode, output } = await clone.run("deploy/aws.sh oncall prod");
  expect(exitCode).toBe(2);
  expect(output).toMatch(/^Written: oncall-prod\.mjs\n[\s\S]*^✗ The gateway does not answer[\s\S]*^✗ Postgres: /m);
  const text = await readFile(path.join(clone.project, "oncall-prod.mjs"), "utf8");
  expect(text).toContain('"database": "postgres://veza_ledger_oncall@127.0.0.1:4/ledger",\n');
  expect(text).toContain('"schema": "veza",\n');
  expect(text + output).not.toContain("s3cret");
});

it("deploy/aws.sh remove asks before each part, and removes nothing without a yes", async () => {
  await clone.fillIn({ ...filledIn, admin: "none" });
  const before = await clone.calls();
  for (const name of ["sampler", "receiver"]) clone.secrets[`veza-ledger-metrics/prod/${name}`] = "{}";
  await clone.run("deploy/aws.sh remove prod", "y\nno\n");
  expect(await clone.calls()).toBe(before);
  const { output } = await clone.run("deploy/aws.sh remove prod", "yes\nyes\n");
  expect(output).toContain(
    "Your DBA runs, in this folder: psql -f config/postgres/uninstall.sql postgres://LOGIN@shop",
  );
  expect((await clone.calls()).slice(before.length).split("\n")).toEqual([
    "npx serverless remove --stage prod",
    "secretsmanager delete-secret --secret-id veza-ledger-metrics/prod/sampler --query Name --output text",
    "secretsmanager delete-secret --secret-id veza-ledger-metrics/prod/receiver --query Name --output text",
    "",
  ]);
});

it("shellcheck finds nothing in the programs and the names", await needs("shellcheck"), async () => {
  const { exitCode, output } = await clone.run("shellcheck -x deploy/aws.sh deploy/role.sh deploy/names.sh");
  expect([exitCode, output]).toEqual([0, ""]);
});
