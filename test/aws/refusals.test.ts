// Where `npm run aws` stops: with a sentence, the remedy, and nothing half done.
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { names, newClone } from "../helpers/aws.ts";
import { makeCertificates } from "../helpers/certificates.ts";
import { tcpServer } from "../helpers/servers.ts";

const { ca: certificate } = await makeCertificates("DNS:localhost");
const filledIn = {
  ...names,
  database: "shop.abc.eu-central-1.rds.amazonaws.com:5432/ledger",
  gateway: "https://push.internal",
  ca: certificate, // So that no certificate is fetched.
};

const clone = await newClone("prod");
const file = path.join(clone.project, "stages.yml");
beforeEach(() => rm(file, { force: true }));

describe("names", () => {
  const isIn = (name: string, sentence: string) => expect.stringMatching(`\n  stages.yml:\\d+: ${name} ${sentence}`);
  it.each([
    {
      admin: ["master:pass", "is of the wrong kind: write the login alone"],
      alarmTopicArn: [
        "arn:aws:sns:eu-west-1:210987654321:alarms",
        "is of the wrong kind: write the ARN of an SNS topic in",
      ],
      ca: ["~/own.pem", "names no file that can be read: write its whole path, without ~"],
      database: ["", "is empty: write HOST:5432/DATABASE"],
      gateway: ["push.internal:9091", "must be an http or https URL"],
      iam: ["true", "is of the wrong kind: write yes or no"],
      repository: ["https://github.com/OWNER/NAME/blob/main", "is still an example"],
      schema: ["views, public", "must be the name of one schema"],
      timezone: ["+01", "must be the name of a zone"],
      subnetIds: ["subnet-0123abcd", "is still an example"],
      urlAuthorizer: ["iam", "is of the wrong kind: write none, aws_iam or off"],
    },
    {
      database: ["postgres://master@shop.internal:5432/ledger", "is of the wrong kind: write HOST:5432/DATABASE"],
      gateway: ["https://push.example.com", "is still an example"],
      timezone: ["Europe/Pariss", "must be the name of a zone"],
    },
    {
      region: ["eu-west-3", "is not the region of database"],
      alarmTopicArn: [names.alarmTopicArn, "is of the wrong kind: write the ARN of an SNS topic in this region"],
    },
  ])("%o are named, each with its remedy", async (wrong: Record<string, string[]>) => {
    const values = Object.entries(wrong).map(([name, [value = ""]]) => [name, value]);
    const { exitCode, output } = await clone.fillIn({ ...filledIn, ...Object.fromEntries(values) });
    expect([exitCode, output]).toEqual([1, expect.stringMatching(/^Correct these, /m)]);
    for (const [name, [, sentence = ""]] of Object.entries(wrong)) expect(output).toEqual(isIn(name, sentence));
    expect(output.match(/^ {2}stages\.yml:/gm)?.length).toBe(values.length);
  });

  it("that no YAML is, or that are not there", async () => {
    await writeFile(file, "prod:\n  database: 'shop\n");
    expect((await clone.run("npm run aws -- install prod")).output).toMatch(
      /^stages\.yml:3: is where a quote .* is still open/,
    );
    await writeFile(file, "- prod\n");
    expect((await clone.run("npm run aws -- install prod")).output).toMatch(
      /^stages\.yml:1: has no names: write NAME: value/,
    );
    await writeFile(file, "prod: { alarmTopicArn: none }\n");
    for (const [line, exitCode, sentence] of [
      ["look staging", 1, "stages.yml has no block of staging: run npm run aws -- names staging"],
      ["looks", 2, "There is no command looks.\nusage: "],
      ["looks prod", 2, "There is no command looks."],
      ["prod look", 2, "There is no command prod."],
      ["look prod now", 2, "look takes one stage alone."],
      ["look", 2, "Which stage?"],
      ["drill", 2, "Which stage?"],
      ["names drill", 1, "drill can be no stage: "],
      ["names a_b", 1, "a_b can be no stage: "],
      ["names -h", 0, "usage: "],
      ["", 2, "usage: "],
    ] as const) {
      expect(await clone.run(`npm run aws -- ${line}`)).toEqual({
        exitCode,
        output: expect.stringMatching(`^${sentence}`),
      });
    }
    expect(await readFile(file, "utf8")).toBe("prod: { alarmTopicArn: none }\n");
  });

  it("that are not known", async () => {
    await writeFile(file, "prod:\n  securityGroups: sg-12ab\n");
    const { output } = await clone.run("npm run aws -- install prod");
    expect(output).toEqual(isIn("securityGroups", "is not known: is it securityGroupIds\\?"));
  });

  it("of the shell that it is started in do not count", async () => {
    await writeFile(file, "prod:\n  region: eu-central-1\n");
    const { output } = await clone.run("npm run aws -- install prod", "", filledIn);
    expect(output).toMatch(/\n {2}stages\.yml:1: database is empty/);
  });
});

describe("before anything is deployed, it stops", () => {
  const steps = async (changes: object, more = {}) => {
    await clone.fillIn({ ...filledIn, iam: "yes", ...changes });
    return (await clone.run("npm run aws -- install prod", "", more)).output;
  };
  const written = async () => (await readdir(clone.project)).filter((name) => /^(stages|dist)/.test(name));

  it("where RDS has other changes that are pending, which are not ours to apply", async () => {
    await clone.answer("pending", '{\n  "DBInstanceClass": "db.t4g.large"\n}');
    const output = await steps({});
    expect(output).toContain(
      'Nothing was changed: shop has pending changes, DBInstanceClass: "db.t4g.large". Wait for',
    );
    expect(output).toMatch(/\nStopped at: IAM\. Run the same line again: what is done is kept\.\n$/);
    expect([await clone.calls(), await written()]).toEqual([expect.not.stringContaining("modify"), ["stages.yml"]]);
    await clone.answer("pending", "null");
  });

  it("where a right is missing, and says where they are listed", async () => {
    const output = await steps({}, { AWS_REFUSES: "modify-db-instance" });
    expect(output).toMatch(/AccessDenied[\s\S]*\nStopped at: IAM\. If a right is missing: docs\/who-may-deploy\.md\. /);
    expect(await written()).toEqual(["stages.yml"]);
  });

  it("where a secret may not be read, or waits for its deletion; the database's id is in stages.yml by then", async () => {
    const database = "shop.cluster-abc.eu-central-1.rds.amazonaws.com:5432/ledger";
    const block = Object.entries({ ...filledIn, admin: "none", database }).map(([name, value]) => `${name}: ${value}`);
    // Everything else stays as somebody has written it.
    for (const [before, first] of [
      [`dev:\r\n  region: eu-west-1\r\nprod: # Ours.\r\n    ${block.join("   # why\r\n    ")}\r\n`, `    ${block[0]}`],
      [
        `'prod':\n  # Note.\n  iam: 'yes'\n  ${block.join("\n  ")}\n  tags: { team:  "42" }\nlast: {}\n`,
        "  iam: 'yes'",
      ],
    ] as const) {
      await writeFile(file, before);
      const { output } = await clone.run("npm run aws -- install prod", "", { AWS_REFUSES: "get-secret-value" });
      expect(output).toContain("in this folder: psql -v schema=veza -v timezone=UTC -v iam=yes -f config/");
      expect(output).toMatch(
        /AccessDenied[\s\S]*\nStopped at: secrets\. .* aws secretsmanager restore-secret --secret-id /,
      );
      const [indent] = /^ +/.exec(first) ?? [];
      const end = before.includes("\r") ? "\r\n" : "\n";
      const id = `${indent}databaseResourceId: "cluster-ABCDEFGHIJKL01234"${end}`;
      expect(await readFile(file, "utf8")).toBe(before.replace(first, id + first));
    }
  });

  it("where a function runs by a secret of another name, whose login a new password would lock out", async () => {
    await clone.answer("stack", "UPDATE_COMPLETE");
    await clone.answer("secretId", "own/sampler");
    const changes = { iam: "no", admin: "none" };
    expect(await steps(changes)).toMatch(
      /\nNothing was made: there is no secret veza-ledger-metrics\/prod\/sampler, .*\n.*\n {2}samplerSecretId: own\/sampler\n/,
    );
    const corrected = { ...changes, samplerSecretId: "own/sampler" };
    expect(await steps(corrected)).toContain(
      "There is no secret own/sampler, which samplerSecretId in stages.yml names.",
    );
    clone.secrets["own/sampler"] = '"s3cret';
    const unread = await steps(corrected);
    expect(unread).toContain("The secret own/sampler is no JSON object: run npm run aws -- secret prod sampler\n");
    clone.secrets["own/sampler"] = '{ "DATABASE_URL": "postgres://a:s3cret@db:5432/ledger?foo=1" }';
    clone.secrets["veza-ledger-metrics/prod/receiver"] = "{}";
    const wrong = await steps(corrected);
    expect(wrong).toMatch(/\n== passwords\nDATABASE_URL: .*\nStopped at: passwords\. Run the same line again: .*\n$/);
    expect(unread + wrong).not.toMatch(/s3cret|SyntaxError/);
    expect(await clone.calls()).not.toContain("create-secret");
    await rm(path.join(clone.folder, "stack"));
    await rm(path.join(clone.folder, "secrets/veza-ledger-metrics_prod_receiver"));
  });

  it("where Postgres never answers", async () => {
    const port = await tcpServer(() => {});
    const output = await steps({ iam: "no", database: `127.0.0.1:${port}/ledger` }, { PGPASSWORD: "s3cret" });
    expect(output).toMatch(
      /Password of master: from PGPASSWORD\n[\s\S]*timeout expired\n[\s\S]*\nStopped at: database\. .* same line/,
    );
  });

  it("where a person has to write a line: stages.yml has another text there, or no line of its own for it", async () => {
    const block = Object.entries(filledIn).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
    for (const [before, where] of [
      [`prod: { ${block.join(", ")} }\n`, "under prod"],
      [`prod:\n  ${block.join("\n  ")}\n  databaseResourceId: 'db-OLD' # by hand\n`, `line ${block.length + 2}`],
    ] as const) {
      await writeFile(file, before);
      const { output } = await clone.run("npm run aws -- install prod");
      expect(output).toMatch(
        `Write this line into stages.yml, ${where.replace("line", "in the place of line")}:
  databaseResourceId: "db-ABCDEFGHIJKL01234"
Stopped at: IAM. Run the same line again`,
      );
      expect(await readFile(file, "utf8")).toBe(before);
    }
  });
});

describe("npm run aws -- deploy, which a pipeline runs without names,", async () => {
  const clone = await newClone("prod");
  await clone.answer("counts", '{"stuck_orders":10}');
  const deploy = async (block: string[], answers: Record<string, string> = {}) => {
    await writeFile(path.join(clone.project, "stages.yml"), ["prod:", ...block].join("\n  "));
    for (const [name, text] of Object.entries(answers)) await clone.answer(name, text);
    const before = (await clone.calls()).length;
    const { exitCode, output } = await clone.run("npm run aws -- deploy prod --package build");
    return { exitCode, output, deployed: (await clone.calls()).slice(before).includes("npx serverless deploy") };
  };
  const alarms = "alarmTopicArn: none";

  it("stops where a first deployment would fail", async () => {
    const sentence = expect.stringMatching(/^stages\.yml:1: prod has no names under it/);
    expect(await deploy([])).toEqual({ exitCode: 1, output: sentence, deployed: false });
    const { output, deployed } = await deploy([alarms], { limit: "10" });
    expect([output, deployed]).toEqual([expect.stringMatching(/^Nothing was deployed: this account runs 10 /), false]);
    expect(await deploy([alarms, 'receiverConcurrency: "off"'])).toMatchObject({ exitCode: 0, deployed: true });
    expect(await clone.calls()).toMatch(/^npx serverless deploy --stage prod --package build$/m);
  });

  it("asks for a profile's code of MFA once, and hands the session on to Serverless", async () => {
    const profiles = ["[default]", "aws_access_key_id = test", "aws_secret_access_key = test", "[profile engineer]"];
    const role = "arn:aws:iam::210987654321:role/engineer";
    const more = [`role_arn = ${role}`, "source_profile = default", "mfa_serial = arn:aws:iam::210987654321:mfa/me"];
    await mkdir(path.join(clone.folder, ".aws"), { recursive: true });
    await writeFile(path.join(clone.folder, ".aws/config"), [...profiles, ...more].join("\n"));
    await rm(path.join(clone.folder, "stack"), { force: true });
    await clone.answer("limit", "1000");
    const before = (await clone.calls()).length;
    const profile = { AWS_PROFILE: "engineer", AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined };
    await writeFile(path.join(clone.project, "stages.yml"), `prod: { ${alarms} }\n`);
    const { exitCode, output } = await clone.run("npm run aws -- deploy prod", "123456\n", profile);
    expect([exitCode, output]).toEqual([
      0,
      expect.stringMatching(/^Code of MFA for arn:aws:iam::210987654321:mfa\/me/),
    ]);
    expect((await clone.calls()).slice(before).match(/^(sts|npx) .*/gm)).toEqual([
      "sts assume-role --role-arn arn:aws:iam::210987654321:role/engineer --token-code 123456",
      "npx serverless deploy --stage prod in a session",
    ]);
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
    const { output } = await clone.run("npm run aws -- deploy prod", "", { AWS_REFUSES: "describe-stacks" });
    expect(output).toContain("AccessDenied");
    const unknown = await deploy([alarms], { facts: "None\tNone\tNone\tNONE", counts: '{"stuck_orders":-1}' });
    expect(unknown).toMatchObject({ exitCode: 1, output: expect.stringContaining("A count of -1 is unknown.") });
    expect(await deploy([alarms], { counts: "{}", failed: "Unhandled" })).toMatchObject({ exitCode: 1 });
  });
});

it("npm run aws -- secret stores what somebody has edited if it is a JSON object, and says why if it is none", async () => {
  await clone.fillIn(filledIn);
  const edit = (EDITOR?: string, name = "sampler") => clone.run(`npm run aws -- secret prod ${name}`, "", { EDITOR });
  const id = "veza-ledger-metrics/prod/sampler";
  expect((await edit("true")).output).toBe(`There is no secret ${id} yet: npm run aws -- install prod makes it.\n`);
  clone.secrets[id] = '{ "STAGE": "prod" }\n';
  expect((await edit()).output).toBe("There is no terminal for vi: write another editor into EDITOR.\n");
  expect((await edit("true", "other")).output).toBe("Write npm run aws -- secret prod sampler, or receiver.\n");
  expect((await edit("sed -i s/prod/shop/")).output).toMatch(/^Stored\. .* Look again: npm run aws -- look prod/);
  expect(clone.secrets[id]).toBe('{ "STAGE": "shop" }\n');
  expect((await edit("true")).output).toMatch(/^Nothing was changed\. If you have changed it, true did not wait /);
  const given = `sh -c 'sed -i s/shop/other/ "$1"; exit 3' sh`; // As vim's :cq ends.
  expect((await edit(given)).output).toBe(`Nothing was changed: ${given} has ended with 3.\n`);
  for (const broken of ["s/}/,}/", "s/.*/[]/", "s/.*/null/"]) {
    expect((await edit(`sed -i '${broken}'`)).output).toMatch(/^Nothing was changed: this is no JSON object\./);
  }
  expect(clone.secrets[id]).toBe('{ "STAGE": "shop" }\n');
});

it("writes a whole file or none, after Ctrl-C and on a full disk: stages.yml, rules, and that of people on call", async () => {
  const clone = await newClone("shop");
  await clone.fillIn({ ...filledIn, gateway: "http://127.0.0.1:4" });
  await clone.answer("iam", "true");
  const files = async () =>
    (await readdir(clone.project, { recursive: true })).filter((name) => !/^(node_modules|\.cache)/.test(name));
  const before = await files();
  for (const [line, part] of [
    ["install shop", "stages.yml.part"],
    ["rules shop", "dist/ledger.yml.part"],
    ["oncall shop", "oncall-shop.mjs.next"],
  ] as const) {
    await mkdir(path.join(clone.project, "dist"), { recursive: true });
    await symlink("/dev/full", path.join(clone.project, part));
    const { exitCode, output } = await clone.run(`npm run aws -- ${line}`, "\n");
    expect([line, exitCode, output]).toEqual([line, expect.any(Number), expect.stringMatching(/no space left/i)]);
    expect(exitCode).not.toBe(0);
    expect(output.split("\n").length, "a sentence, and not one for each line").toBeLessThan(7);
    await rm(path.join(clone.project, "dist"), { recursive: true });
    expect(await files()).toEqual(before);
  }
});

it("npm run aws -- rules puts your addresses into the links, and says where a page goes", async () => {
  await clone.fillIn(filledIn, {}, "shop");
  const { output } = await clone.run("npm run aws -- rules shop");
  expect(output).toContain("A page of shop is a ticket. If customers pay there, add it to prod|drill| in your route.");
  for (const name of ["ledger.yml", "ledger.json"]) {
    const text = await readFile(path.join(clone.project, "dist", name), "utf8");
    expect(text).not.toMatch(/(repository|grafana)\.example/);
    expect(text).toMatch(/https:\/\/(git|grafana)\.internal/);
  }
});

it("npm run aws -- oncall writes the file of people on call, without a password, and says what does not answer", async () => {
  await clone.fillIn({ ...filledIn, gateway: "http://127.0.0.1:4", database: "127.0.0.1:4/ledger" });
  const { exitCode, output } = await clone.run("npm run aws -- oncall prod", "user:s3cret\n");
  expect(exitCode).toBe(2);
  expect(output).toMatch(/^Written: oncall-prod\.mjs\n[\s\S]*^✗ The gateway does not answer[\s\S]*^✗ Postgres: /m);
  const text = await readFile(path.join(clone.project, "oncall-prod.mjs"), "utf8");
  expect(text).toContain('"database": "postgres://veza_ledger_oncall@127.0.0.1:4/ledger",\n');
  expect(text).toContain('"schema": "veza",\n');
  expect(text + output).not.toContain("s3cret");
});

it("npm run aws -- remove asks before each part, and removes nothing without a yes", async () => {
  await clone.fillIn({ ...filledIn, admin: "none" });
  const before = await clone.calls();
  for (const name of ["sampler", "receiver"]) clone.secrets[`veza-ledger-metrics/prod/${name}`] = "{}";
  expect((await clone.run("npm run aws -- remove prod", "y\nno\n")).output.match(/Kept, without a yes/g)).toHaveLength(
    2,
  );
  expect(await clone.calls()).toBe(before);
  const { output } = await clone.run("npm run aws -- remove prod", "yes\nyes\n");
  expect(output).toContain(
    "Your DBA runs, in this folder: psql -f config/postgres/uninstall.sql postgres://LOGIN@shop",
  );
  expect((await clone.calls()).slice(before.length).split("\n")).toEqual([
    "npx serverless remove --stage prod",
    "secretsmanager delete-secret --secret-id veza-ledger-metrics/prod/sampler",
    "secretsmanager delete-secret --secret-id veza-ledger-metrics/prod/receiver",
    "",
  ]);
  // Again, as after a wrong password of the last part.
  expect(await clone.run("npm run aws -- remove prod", "no\nyes\n")).toEqual({
    exitCode: 0,
    output: expect.stringContaining("Gone before: veza-ledger-metrics/prod/receiver\n"),
  });
});
