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
  // It keeps a secret that is there, as AWS does.
  const aws = `#!/bin/sh
secret="${secrets}/$(echo "$4" | tr / _)"
case "$1 $2 $3 $5 $6" in
  "secretsmanager create-secret --name --secret-string file:///dev/stdin")
    [ ! -e "$secret" ] || { echo "(ResourceExistsException)" >&2; exit 254; }
    cat >"$secret" ;;
  "secretsmanager get-secret-value --secret-id --query SecretString") cat "$secret" ;;
  "lambda get-function-url-config --function-name --query FunctionUrl") cat "${folder}/url" ;;
  "rds describe-db-instances --db-instance-identifier --query DBInstances[0].DbiResourceId")
    echo db-ABCDEFGHIJKL01234 ;;
  "rds describe-db-instances --db-instance-identifier --query DBInstances[0].PendingModifiedValues")
    cat "${folder}/pending" 2>/dev/null || echo "{}" ;;
  "rds modify-db-instance --db-instance-identifier --enable-iam-database-authentication --apply-immediately")
    echo "turned on" ;;
  *) exit 1 ;;
esac
`;
  await writeFile(path.join(folder, "aws"), aws, { mode: 0o755 });
  onTestFinished(() => wipe(stage));
  /** The page's names, as somebody has edited them. */
  const names = ((await blocksOf("docs/deploy.md", "sh")).find((block) => block.includes("database=")) ?? "")
    .replace("HOST:5432/DATABASE", `${address}/ledger?sslmode=verify-full`)
    .replace("https://push.example.com ", `${inject("pushgatewayUrl")} `)
    .replace("schema=public", "schema=veza")
    .replace("ca=$PWD/rds.pem", `ca=${ca}`);
  /** Runs a block as it is printed, after the names; it must succeed. Resolves to what it printed. */
  const bash = async (block: string, environment: Record<string, string | undefined> = {}) => {
    const here = block.replaceAll(/\bpsql -v/g, "PGPASSWORD=master psql -v"); // psql would ask for it.
    const program = runProgram("bash", ["-euo", "pipefail", "-c", `cd '${project}'\n${names}\n${here}`], {
      ...withoutSettings,
      STAGE: stage,
      PATH: `${folder}:${path.resolve("node_modules/.bin")}:${process.env.PATH}`,
      ...environment,
    });
    await program.exited;
    const output = program.output();
    expect([program.child.exitCode, output.match(/^✗.*|^.*ERROR.*$/gm)], output).toEqual([0, null]);
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
    const printed = await bash(`${commands}\n${forTheSender}`, awsCredentials);
    expect(printed).toContain("Recorded. It is on the gateway.");
    expect(printed).toMatch(new RegExp(`^${url}\nwhsec_\\S+$`, "m"));
  };
  return { folder, project, bash, keepSecrets, ping };
}

const steps = await blocksOf("docs/deploy.md", "sh", "Steps");
const [settings = "", secrets = "", database = "", look = ""] = steps;
const rows = `insert into veza.orders (status, hyperswitch_payment_id, created_at) values
  ('pending', 'pay', now() - interval '1 hour'), ('paid', 'pay', now())`;

describe("leads, as printed, to the first gauge and the first 200:", await needs("bash", "openssl", "psql"), () => {
  it("the page's commands for passwords, and pasted again, they change none", async () => {
    const rds = await startAsOnRds();
    onTestFinished(() => rds.stop());
    await rds.run(rows);
    const [settings = "", database = ""] = await blocksOf("docs/passwords.md", "sh");
    const stage = "first-hour";
    const { bash, keepSecrets, ping } = await startWalk(rds.address, rds.ca, stage);

    await bash(settings);
    await bash(database);
    const given = structuredClone(await keepSecrets());
    expect(await bash(`{ ${settings} } || true`)).toContain("Kept: stages.yml");
    expect(await keepSecrets()).toEqual(given);
    await bash(database);
    expect(await bash(look)).toMatch(/^✓ login +veza_ledger_sampler$[\s\S]*^✓ login +veza_ledger_receiver$/m);

    const shared = { NODE_EXTRA_CA_CERTS: rds.ca, STAGE: stage };
    const sampler = { ...withoutSettings, ...shared, SECRET_ID: "veza-ledger-metrics/prod/sampler" };
    const tick = runScript("test/programs/tick.ts", [], sampler);
    expect(await tick.printed(/^counts .*/m)).toContain('"stuck_orders":1,');
    expect(await scrape(stage)).toMatchObject({ veza_ledger_stuck_orders_pending: 1 });
    await ping({ ...shared, SECRET_ID: "veza-ledger-metrics/prod/receiver" });
  });

  it("the page's commands for IAM, without a password", async () => {
    const rds = await startRds(fillWithIam);
    const admin = postgres(rds.superuserUrl.replace(/\w+$/, "ledger"), { max: 1 });
    onTestFinished(() => admin.end());
    await admin.unsafe(rows);
    const stage = "first-hour-iam";
    const { folder, project, bash, keepSecrets, ping } = await startWalk(rds.address, rds.certificatesFile, stage);
    // AWS' own variables are in the shell from the beginning.
    await writeFile(path.join(folder, "pending"), '{ "DBInstanceClass": "db.t4g.large" }');
    expect(await bash(settings, awsCredentials)).toMatch(/^IAM .* pending: \{ "DBInstanceClass": "db.t4g.large" \}\n$/);
    await rm(path.join(folder, "pending"));
    expect(await bash(settings, awsCredentials)).toBe("turned on\nKept: stages.yml\n");
    expect(await bash(secrets)).toBe("");
    expect(Object.keys(await keepSecrets()).sort()).toEqual([
      "veza-ledger-metrics/prod/receiver",
      "veza-ledger-metrics/prod/sampler",
    ]);
    await bash(database, awsCredentials);
    expect(await bash(look, awsCredentials)).toMatch(/^✓ login +veza_ledger_sampler$/m);

    const params = load(await readFile(path.join(project, "stages.yml"), "utf8")) as { prod: object };
    const packaged = await packageService("prod", params.prod);
    const onAws = { ...awsCredentials, NODE_EXTRA_CA_CERTS: rds.certificatesFile, STAGE: stage };
    const sampler = await startLambda(packaged, "sampler", onAws);
    expect((await sampler.invoke({})).result).toMatchObject({ stuck_orders: 1 });
    expect(await scrape(stage)).toMatchObject({ veza_ledger_stuck_orders_pending: 1 });
    await ping({ ...functionIn(packaged, "receiver").Environment.Variables, ...onAws });
    expect(rds.logins.length).toBeGreaterThan(3);
    expect(rds.logins.filter(({ problem }) => problem)).toEqual([]);
  });
});
