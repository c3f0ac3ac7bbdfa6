// The way of docs/deploy.md from nothing to the first gauge and the first 200, as it is printed, on a database as RDS has it.
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { load } from "js-yaml";
import postgres from "postgres";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { fillWithIam, startAsOnRds } from "../helpers/as-on-rds.ts";
import { copyProject } from "../helpers/copy.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { scrape, wipe } from "../helpers/gateway.ts";
import { startLambda } from "../helpers/lambda.ts";
import { needs } from "../helpers/needs.ts";
import { functionIn, packageService } from "../helpers/packages.ts";
import { blocksOf } from "../helpers/pages.ts";
import { runProgram, runScript } from "../helpers/processes.ts";
import { awsCredentials, startRds } from "../helpers/rds.ts";
import { startReceiver } from "../helpers/receiver.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

/** A shell in which a page's commands lead to this server, and `aws` is a fake that keeps the secrets it is given. */
async function startWalk(address: string, ca: string, stage: string) {
  const [folder, project] = await Promise.all([newFolder(), copyProject()]);
  const secrets = path.join(folder, "secrets");
  await mkdir(secrets);
  // It keeps a secret that is there, as AWS does. IAM is on from the second look on after it was turned on.
  const aws = `#!/bin/sh
secret="${secrets}/$(for word; do case $word in veza-ledger-metrics/*) echo "$word" | tr / _ ;; esac; done)"
about() { cat "${folder}/$1" 2>/dev/null || echo "$2"; }
case "$*" in
  "secretsmanager create-secret --name "*" --secret-string file:///dev/stdin")
    [ ! -e "$secret" ] || { echo "(ResourceExistsException)" >&2; exit 254; }
    cat >"$secret" ;;
  "secretsmanager get-secret-value "*"--query SecretString"*)
    [ -e "$secret" ] || { echo "(AccessDeniedException)" >&2; exit 254; }
    cat "$secret" ;;
  "lambda get-function-url-config --function-name veza-ledger-metrics-${stage}-receiver --query FunctionUrl"*)
    cat "${folder}/url" ;;
  "rds describe-db-"*" --query DBInstances[0].DbiResourceId --output json") echo '"db-ABCDEFGHIJKL01234"' ;;
  "rds describe-db-"*" --query DBClusters[0].DbClusterResourceId --output json") echo '"cluster-ABCDEFGHIJKL01234"' ;;
  "rds describe-db-"*" --query "*"[0].PendingModifiedValues --output json") about pending "{}" ;;
  "rds describe-db-"*" --query "*"[0].IAMDatabaseAuthenticationEnabled --output json")
    about on false
    [ ! -e "${folder}/turned-on" ] || { echo true >"${folder}/on"; rm "${folder}/turned-on"; } ;;
  "rds modify-db-"*" --apply-immediately --enable-iam-database-authentication")
    echo "$*" >>"${folder}/modified"
    touch "${folder}/turned-on" ;;
  *) echo "not faked: $*" >&2; exit 1 ;;
esac
`;
  await writeFile(path.join(folder, "aws"), aws, { mode: 0o755 });
  await writeFile(path.join(folder, "sleep"), "#!/bin/sh\n", { mode: 0o755 });
  onTestFinished(() => wipe(stage));
  const name = (changes: Record<string, string>) => {
    const text = Object.entries(changes).reduce((text, [name, value]) => {
      expect(text).toMatch(new RegExp(`^(export )?${name}='`, "m"));
      return text.replace(new RegExp(`^((?:export )?${name})='.*?'`, "m"), (_, before) => `${before}='${value}'`);
    }, names);
    return writeFile(path.join(project, "names.sh"), text.replaceAll("$HOME/rds.pem", ca));
  };
  const names = await readFile("deploy/names.sh", "utf8");
  /** The names, as somebody has filled them in. */
  const filledIn = {
    stage,
    database: `${address}/ledger?sslmode=verify-full`,
    admin: "master",
    schema: "veza",
    gateway: inject("pushgatewayUrl"),
    topic: "arn:aws:sns:eu-central-1:123456789012:ledger-alarms",
  };
  await name(filledIn);
  /** Runs a block as it is printed, in a new shell. Resolves to how it ended, and to what it printed. */
  const paste = async (block: string, environment: Record<string, string | undefined> = {}) => {
    const here = block.replaceAll(/\bpsql -q/g, "PGPASSWORD=master psql -q"); // psql would ask for it.
    const program = runProgram("bash", ["-uc", `cd '${project}' && . ./names.sh\n${here}`], {
      ...withoutSettings,
      // What a shell may have from another page: names.sh takes it away.
      PGPASSWORD: "another",
      STAGE: "another",
      PATH: `${folder}:${path.resolve("node_modules/.bin")}:${process.env.PATH}`,
      ...environment,
    });
    await program.exited;
    return { exitCode: program.child.exitCode, output: program.output() };
  };
  /** The same, and it must succeed. Resolves to what it printed. */
  const bash = async (block: string, environment: Record<string, string | undefined> = {}) => {
    const { exitCode, output } = await paste(block, environment);
    expect([exitCode, output.match(/^✗.*|^.*ERROR.*$/gm)], output).toEqual([0, null]);
    return output;
  };
  const given: Record<string, Record<string, string>> = {};
  await fakeSecretsManager(given);
  /** Gives what was made with AWS' command line to the stand-in for Secrets Manager. */
  const keepSecrets = async () => {
    for (const file of await readdir(secrets)) {
      given[file.replaceAll("_", "/")] = JSON.parse(await readFile(path.join(secrets, file), "utf8"));
    }
    return given;
  };
  /** The first 200 of a receiver with this environment, with the page's ping, and what it prints for the sender. */
  const ping = async (environment: Record<string, string>) => {
    const { url } = await startReceiver(environment);
    await writeFile(path.join(folder, "url"), `${url}\n`);
    const [invokeAndPing = "", forTheSender = ""] = steps.slice(
      steps.findIndex((block) => block.includes("send -- ping")),
    );
    const commands = invokeAndPing.replace(/^npx serverless invoke .*\n/, ""); // No function is deployed here.
    expect(commands).not.toBe(invokeAndPing);
    expect(await bash(commands, awsCredentials)).toContain("Recorded. It is on the gateway.");
    // In another shell, which has no address from the block above.
    expect(await bash(forTheSender, awsCredentials)).toMatch(new RegExp(`^${url}\nwhsec_\\S+\n$`));
  };
  return {
    folder,
    project,
    paste,
    bash,
    keepSecrets,
    ping,
    rename: (changes: object) => name({ ...filledIn, ...changes }),
  };
}

const steps = await blocksOf("docs/deploy.md", "sh", "Steps");
const [iam = "", database = "", secrets = "", look = ""] = steps;
const prefix = "veza-ledger-metrics";
const rows = `insert into veza.orders (status, hyperswitch_payment_id, created_at) values
  ('pending', 'pay', now() - interval '1 hour'), ('paid', 'pay', now())`;

describe("leads, as printed, to the first gauge and the first 200:", await needs("bash", "openssl", "psql"), () => {
  it("the page's commands for passwords, and pasted again, they change none", async () => {
    const rds = await startAsOnRds();
    onTestFinished(() => rds.stop());
    await rds.run(rows);
    const [database = "", settings = "", passwords = ""] = await blocksOf("docs/passwords.md", "sh");
    const stage = "first-hour";
    const { project, paste, bash, keepSecrets, ping } = await startWalk(rds.address, rds.ca, stage);

    expect(await bash(database)).toMatch(/INFO: +the first day\n[\s\S]* 1 of stuck_orders\nCommitted: /);
    // Without the secrets, it stops before psql, which would set no password, and say that all is well.
    const tooEarly = await paste(passwords);
    expect([tooEarly.exitCode, tooEarly.output]).toEqual([1, expect.stringContaining("(AccessDeniedException)")]);
    expect(await bash(settings)).toBe("");
    await bash(passwords);
    const given = structuredClone(await keepSecrets());
    expect((await paste(settings)).output).toContain(`Kept: ${stage} in stages.yml`);
    expect(await keepSecrets()).toEqual(given);
    await bash(passwords);
    const seen = await bash(look);
    expect(seen).toMatch(/^✓ login +veza_ledger_sampler$[\s\S]*^✓ login +veza_ledger_receiver$/m);
    expect(seen.match(/^✓ settings .*/gm)).toEqual(Array(2).fill(expect.stringMatching(/^✓ settings +valid$/)));
    expect(load(await readFile(path.join(project, "stages.yml"), "utf8"))).toEqual({
      [stage]: { region: "eu-central-1", alarmTopicArn: expect.stringMatching(/^arn:aws:sns:/) },
    });

    const shared = { NODE_EXTRA_CA_CERTS: rds.ca };
    const sampler = { ...withoutSettings, ...shared, SECRET_ID: `${prefix}/${stage}/sampler` };
    const tick = runScript("test/programs/tick.ts", [], sampler);
    expect(await tick.printed(/^counts .*/m)).toContain('"stuck_orders":1,');
    expect(await scrape(stage)).toMatchObject({ veza_ledger_stuck_orders_pending: 1 });
    await ping({ ...shared, SECRET_ID: `${prefix}/${stage}/receiver` });
    // The totals are this stage's by now. The same block still finds nothing that is wrong.
    expect((await bash(look)).match(/^✓ totals .*/gm)).toHaveLength(4);
  });

  it("the page's commands for IAM, without a password", async () => {
    const rds = await startRds(fillWithIam);
    const admin = postgres(rds.superuserUrl.replace(/\w+$/, "ledger"), { max: 1 });
    onTestFinished(() => admin.end());
    await admin.unsafe(rows);
    const stage = "first-hour-iam";
    const walk = await startWalk(rds.address, rds.certificatesFile, stage);
    const { folder, project, paste, bash, keepSecrets, ping, rename } = walk;
    // Without a name, a step stops, and says which.
    for (const [block, missing] of [
      [iam, "topic"],
      [database, "admin"],
      [secrets, "gateway"],
    ] as const) {
      await rename({ [missing]: "" });
      expect((await paste(block, awsCredentials)).output).toMatch(
        new RegExp(`: ${missing}: parameter null or not set`),
      );
    }
    expect([await readdir(project), await keepSecrets()]).toEqual([expect.not.arrayContaining(["stages.yml"]), {}]);
    await rename({});
    // Other changes that are pending are AWS', and not ours to apply.
    await writeFile(path.join(folder, "pending"), '{\n  "DBInstanceClass": "db.t4g.large"\n}\n');
    expect(await paste(iam, awsCredentials)).toEqual({
      exitCode: 1,
      output: "Nothing was changed. Pending changes of 0: {DBInstanceClass:db.t4g.large}\n",
    });
    await rm(path.join(folder, "pending"));
    expect(await readdir(folder)).not.toContain("modified");
    expect(await bash(iam, awsCredentials)).toBe("");
    expect(await bash(iam, awsCredentials)).toBe(`Kept: ${stage} in stages.yml\n`);
    expect(await readFile(path.join(folder, "modified"), "utf8")).toMatch(/^rds modify-db-instance [^\n]*\n$/); // Once.
    const aurora = { stage: "other", database: "shop.cluster-abc.eu-central-1.rds.amazonaws.com:5432/ledger" };
    await rename(aurora);
    expect(await bash(iam, awsCredentials)).toBe("");
    await rename({});
    expect(await bash(secrets)).toBe("");
    expect(Object.keys(await keepSecrets()).sort()).toEqual([
      `${prefix}/${stage}/receiver`,
      `${prefix}/${stage}/sampler`,
    ]);
    await bash(database, awsCredentials);
    await admin.unsafe("set role master; revoke rds_iam from veza_ledger_sampler; reset role");
    expect((await paste(look, awsCredentials)).output).toMatch(
      /^✗ Postgres +password authentication failed [\s\S]*?^ {2}→ run step 2 of docs\/deploy\.md again: its -v iam=yes grants rds_iam/m,
    );
    await bash(database, awsCredentials);
    expect(await bash(look, awsCredentials)).toMatch(/^✓ login +veza_ledger_sampler$/m);

    const params = load(await readFile(path.join(project, "stages.yml"), "utf8")) as Record<string, object>;
    expect(params).toMatchObject({
      [stage]: { databaseResourceId: "db-ABCDEFGHIJKL01234" },
      other: { databaseResourceId: "cluster-ABCDEFGHIJKL01234" },
    });
    const packaged = await packageService(stage, params[stage] ?? {});
    const onAws = { ...awsCredentials, NODE_EXTRA_CA_CERTS: rds.certificatesFile };
    const sampler = await startLambda(packaged, "sampler", onAws);
    expect((await sampler.invoke({})).result).toMatchObject({ stuck_orders: 1 });
    expect(await scrape(stage)).toMatchObject({ veza_ledger_stuck_orders_pending: 1 });
    await ping({ ...functionIn(packaged, "receiver").Environment.Variables, ...onAws });
    expect(rds.logins.length).toBeGreaterThan(3);
    expect(rds.logins.filter(({ problem }) => problem)).toEqual([]);
  });
});
