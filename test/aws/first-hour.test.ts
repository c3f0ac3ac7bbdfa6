// The way of docs/deploy.md from nothing to the first gauge and the first 200, as it is printed, on a database as RDS has it.
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { load } from "js-yaml";
import postgres from "postgres";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { fillWithIam, startAsOnRds } from "../helpers/as-on-rds.ts";
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
  const folder = await newFolder();
  const secrets = path.join(folder, "secrets");
  await mkdir(secrets);
  const aws =
    `#!/bin/sh\n[ "$1 $2 $3 $5 $6" = "secretsmanager create-secret --name --secret-string file:///dev/stdin" ] || ` +
    `exit 1\ncat >"${secrets}/$(echo "$4" | tr / _)"\n`;
  await writeFile(path.join(folder, "aws"), aws, { mode: 0o755 });
  onTestFinished(() => wipe(stage));
  /** What the placeholders of a block stand for here. */
  const filled = (block: string) =>
    block
      .replaceAll("HOST:5432/DATABASE", `${address}/ledger?sslmode=verify-full`)
      .replaceAll("read -rs PGPASSWORD", "PGPASSWORD=master")
      .replaceAll(/\bpsql (?=postgres:|-v)/g, `PGPASSWORD=master PGSSLROOTCERT=${ca} psql `)
      .replaceAll("https://push.example.com", inject("pushgatewayUrl"))
      .replaceAll(/(schema)=public/gi, "$1=veza")
      .replaceAll("ledgerSchema: public", "ledgerSchema: veza")
      .replaceAll(/(\.\/)?\bpasswords\b/g, path.join(folder, "passwords"))
      .replaceAll("verifiers.sql", path.join(folder, "verifiers.sql"));
  /** Runs a block as it is printed, but for its placeholders; it must succeed. Resolves to what it printed. */
  const bash = async (block: string, environment: Record<string, string | undefined> = {}) => {
    const program = runProgram("bash", ["-euo", "pipefail", "-c", filled(block)], {
      ...withoutSettings,
      NODE_EXTRA_CA_CERTS: ca,
      STAGE: stage,
      LEDGER_SCHEMA: "veza", // As the page says of a schema that is not public.
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
  /** The first 200 of a receiver with this environment, by the page's ping. */
  const ping = async (environment: Record<string, string>) => {
    const { url } = await startReceiver(environment);
    const [commands = ""] =
      /^export RECEIVER_URL=.*\n.*npm run send -- ping$/m.exec(
        (await blocksOf("docs/deploy.md", "sh|yaml", "Deploy and try it")).join(""),
      ) ?? [];
    const sent = await bash(commands.replace(/https:\S+/, url), awsCredentials);
    expect(sent).toContain("Recorded. It is on the gateway.");
  };
  return { filled, bash, keepSecrets, ping };
}

const rows = `insert into veza.orders (status, hyperswitch_payment_id, created_at) values
  ('pending', 'pay', now() - interval '1 hour'), ('paid', 'pay', now())`;

describe("leads, as printed, to the first gauge and the first 200:", await needs("bash", "openssl", "psql"), () => {
  it("the page's commands for passwords", async () => {
    const rds = await startAsOnRds();
    onTestFinished(() => rds.stop());
    await rds.run(rows);
    const [onRds = "", migrate = "", secrets = "", look = ""] = await blocksOf(
      "docs/deploy.md",
      "sh|yaml",
      "Log in with passwords",
    );
    expect(onRds).toContain("NODE_EXTRA_CA_CERTS"); // Which the test has made itself.
    const [join = ""] = /^.*'grant veza_app to master'$/m.exec(onRds) ?? [];
    const stage = "first-hour";
    const { bash, keepSecrets, ping } = await startWalk(rds.address, rds.ca, stage);

    expect(await bash(join)).toContain("GRANT ROLE");
    await bash(migrate);
    expect(await bash(secrets)).toBe("");
    await keepSecrets();
    expect(await bash(look)).toMatch(/^✓ login +veza_ledger_sampler$/m);

    const shared = { NODE_EXTRA_CA_CERTS: rds.ca, STAGE: stage, LEDGER_SCHEMA: "veza" };
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
    const blocks = await blocksOf("docs/deploy.md", "sh|yaml", "Log in without a password");
    const [turnOn, prepare = "", secret = "", params = "", look = ""] = blocks;
    expect(turnOn).toMatch(/^export .*\naws rds .*\naws rds .*\n$/); // RDS is not here.
    const migrate = prepare.replace(/^(curl|export) .*\n/gm, "");
    const stage = "first-hour-iam";
    const { filled, bash, keepSecrets, ping } = await startWalk(rds.address, rds.certificatesFile, stage);
    // AWS' own variables are in the shell from the beginning.
    await bash(migrate, awsCredentials);
    expect(await bash(secret)).toBe("");
    expect(Object.keys(await keepSecrets())).toEqual(["veza-ledger-metrics/prod/receiver"]);
    expect(await bash(look, awsCredentials)).toMatch(/^✓ login +veza_ledger_sampler$/m);

    const packaged = await packageService("prod", (load(filled(params)) as { prod: object }).prod);
    const onAws = { ...awsCredentials, NODE_EXTRA_CA_CERTS: rds.certificatesFile, STAGE: stage };
    const sampler = await startLambda(packaged, "sampler", onAws);
    expect((await sampler.invoke({})).result).toMatchObject({ stuck_orders: 1 });
    expect(await scrape(stage)).toMatchObject({ veza_ledger_stuck_orders_pending: 1 });
    await ping({ ...functionIn(packaged, "receiver").Environment.Variables, ...onAws });
    expect(rds.logins.length).toBeGreaterThan(3);
    expect(rds.logins.filter(({ problem }) => problem)).toEqual([]);
  });
});
