// The README's way from nothing to the first gauge and the first 200, as it is printed, on a database as RDS has it.
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { load } from "js-yaml";
import postgres from "postgres";
import { beforeAll, describe, expect, inject, it, onTestFinished, vi } from "vitest";
import { findOnPath } from "../../local/find-on-path.ts";
import { type AsOnRds, fillWithIam, startAsOnRds } from "../helpers/as-on-rds.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { scrape, wipe } from "../helpers/gateway.ts";
import { functionIn, packageService } from "../helpers/packages.ts";
import { postgresPackage } from "../helpers/postgres-package.ts";
import { runProgram, runScript } from "../helpers/processes.ts";
import { awsCredentials, startRds } from "../helpers/rds.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";

/** The commands of a page under a heading, block by block. */
async function blocksOf(page: string, heading: string): Promise<string[]> {
  const [, after = ""] = (await readFile(page, "utf8")).split(`\n## ${heading}\n`);
  const [part = ""] = after.split("\n## ");
  return [...part.matchAll(/^ *```(?:sh|yaml)\n([\s\S]*?)^ *```/gm)].map(([, block = ""]) =>
    block.replaceAll(/^ {3}/gm, ""),
  );
}

interface Walk {
  /** What the placeholders of a block stand for here. */
  filled(block: string): string;
  /** Runs a block as it is printed, but for its placeholders; it must succeed. Resolves to what it printed. */
  bash(block: string, environment?: Record<string, string | undefined>): Promise<string>;
  /** Gives what was made with AWS' command line to the stand-in for Secrets Manager. */
  keepSecrets(): Promise<Record<string, Record<string, string>>>;
}

/** A shell in which a page's commands lead to this server, and `aws` is a fake that keeps the secrets it is given. */
async function startWalk(address: string, ca: string, stage: string): Promise<Walk> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-first-hour-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await mkdir(path.join(folder, "secrets"));
  await writeFile(
    path.join(folder, "aws"),
    `#!/bin/sh\n[ "$1 $2 $3 $5 $6" = "secretsmanager create-secret --name --secret-string file:///dev/stdin" ] || ` +
      `exit 1\ncat >"${folder}/secrets/$(echo "$4" | tr / _)"\n`,
  );
  await chmod(path.join(folder, "aws"), 0o755);
  onTestFinished(() => wipe(stage));
  const filled = (block: string) =>
    block
      .replaceAll("master:password@host:5432/ledger", `master:master@${address}/ledger?sslmode=verify-full`)
      .replaceAll("HOST:5432/DATABASE", `${address}/ledger?sslmode=verify-full`)
      .replaceAll("PGPASSWORD=password", "PGPASSWORD=master")
      .replaceAll("psql postgres:", `PGSSLROOTCERT=${ca} psql postgres:`)
      .replaceAll("https://push.example.com", inject("pushgatewayUrl"))
      .replaceAll("--schema public", "--schema veza")
      .replaceAll(/(\.\/)?\bpasswords\b/g, path.join(folder, "passwords"));
  const given: Record<string, Record<string, string>> = {};
  await fakeSecretsManager(given);
  return {
    filled,
    bash: async (block, environment = {}) => {
      const program = runProgram("bash", ["-euo", "pipefail", "-c", filled(block)], {
        ...withoutSettings,
        NODE_EXTRA_CA_CERTS: ca,
        STAGE: stage,
        PATH: `${folder}:${path.resolve("node_modules/.bin")}:${process.env.PATH}`,
        ...environment,
      });
      await program.exited;
      const output = program.output();
      expect([program.child.exitCode, output.match(/^✗.*|^.*ERROR.*$/gm)], output).toEqual([0, null]);
      return output;
    },
    keepSecrets: async () => {
      for (const file of await readdir(path.join(folder, "secrets"))) {
        given[file.replaceAll("_", "/")] = JSON.parse(await readFile(path.join(folder, "secrets", file), "utf8"));
      }
      return given;
    },
  };
}

/** The functions' first tick, and their first 200 by the README's ping, with these environments. */
async function tryFunctions(
  { bash }: Walk,
  stage: string,
  webhookSecret: string | undefined,
  sampler: Record<string, string>,
  receiver: Record<string, string>,
) {
  const tick = runScript("test/programs/tick.ts", [], { ...withoutSettings, ...sampler });
  await tick.exited;
  expect(tick.output()).toMatch(/^counts .*"stuck_orders":1,/m);
  expect(await scrape(stage)).toMatchObject({ veza_ledger_stuck_orders_pending: 1 });
  const listening = runScript("test/programs/receiver.ts", [], { ...withoutSettings, ...receiver });
  const url = await listening.printed(/receiver (\S+)/);
  const [ping = ""] = /^.*npm run send -- ping$/m.exec((await blocksOf("README.md", "Deploy")).join("")) ?? [];
  const sent = await bash(ping.replace(/https:\S+/, url), { WEBHOOK_SECRET: webhookSecret });
  expect(sent).toContain("Recorded. It is on the gateway.");
}

const rows = `insert into veza.orders (status, hyperswitch_payment_id, created_at) values
  ('pending', 'pay', now() - interval '1 hour'), ('paid', 'pay', now())`;

/** PostgreSQL's own, and the oldest that RDS still starts, where it can be had. */
const versions: [string, () => Promise<string | undefined>][] = [
  ["as installed", async () => process.env.POSTGRES_PACKAGE],
  ["15", () => postgresPackage(15)],
];

const hasPsql = await findOnPath(["psql"]);

describe.each(versions)("on PostgreSQL %s, as on RDS", (version, packaged) => {
  let rds: AsOnRds;
  let isMissing: unknown;
  beforeAll(async () => {
    const other = await packaged().catch((error) => {
      isMissing = error;
      return undefined;
    });
    if (isMissing) return;
    vi.stubEnv("POSTGRES_PACKAGE", other);
    rds = await startAsOnRds().finally(() => vi.unstubAllEnvs());
    return () => rds.stop();
  });

  it("the README's commands, as printed, lead to the first gauge and the first 200, and back", async ({ skip }) => {
    skip(Boolean(isMissing) || !hasPsql, `PostgreSQL ${version} or psql could not be had: ${isMissing}`);
    await rds.run(rows);
    const [onRds = "", migrate = "", secrets = "", look = ""] = await blocksOf("README.md", "Deploy");
    expect(onRds).toContain("NODE_EXTRA_CA_CERTS"); // Which the test has made itself.
    const [join = ""] = /^.*'grant veza_app to master'$/m.exec(onRds) ?? [];
    const stage = `first-hour-${version.replaceAll(" ", "-")}`;
    const walk = await startWalk(rds.address, rds.ca, stage);
    const { bash } = walk;

    expect(await bash(join)).toContain("GRANT ROLE");
    expect(await bash(migrate)).toMatch(/^✓ veza_ledger_oncall +logged in, and tried/m);
    expect(await bash(secrets)).toBe("");
    const given = await walk.keepSecrets();
    expect(await bash(look)).toMatch(/^✓ login +veza_ledger_sampler$/m);

    const [sampler = "", receiver = ""] = ["sampler", "receiver"].map((name) => `veza-ledger-metrics/prod/${name}`);
    const shared = { NODE_EXTRA_CA_CERTS: rds.ca, STAGE: stage };
    await tryFunctions(
      walk,
      stage,
      given[receiver]?.WEBHOOK_SECRET,
      { ...shared, SECRET_ID: sampler },
      { ...shared, SECRET_ID: receiver },
    );

    const [remove = ""] =
      /^.*psql .*indexes\.rollback[\s\S]*?(?=^```)/m.exec(await readFile("docs/deploy.md", "utf8")) ?? [];
    expect(remove).toContain("rollback.sql");
    await bash(remove);
    expect(await rds.run("select rolname from pg_roles where rolname ~ 'veza_ledger'")).toHaveLength(0);
  });
});

it.skipIf(!hasPsql)("the page's commands for IAM, as printed, lead there without a password", async () => {
  const rds = await startRds(fillWithIam);
  const admin = postgres(rds.superuserUrl.replace(/\w+$/, "ledger"), { max: 1 });
  onTestFinished(() => admin.end());
  await admin.unsafe(rows);
  const [turnOn, prepare = "", secret = "", params = "", look = ""] = await blocksOf(
    "docs/deploy.md",
    "Log in without a password",
  );
  expect(turnOn).toMatch(/^aws rds .*\naws rds .*\n$/); // RDS is not here.
  const migrate = prepare.replace(/^(curl|export) .*\n/gm, "");
  const stage = "first-hour-iam";
  const walk = await startWalk(rds.addressUrl.replace(/^.*\/\/|\/ledger$/g, ""), rds.certificatesFile, stage);
  const { bash } = walk;
  // AWS' own variables are in the shell from the beginning.
  await bash(migrate, awsCredentials);
  const members = await admin`select member::regrole::text as name from pg_auth_members
    where roleid = 'rds_iam'::regrole and member::regrole::text like 'veza%' group by 1 order by 1`;
  expect(members.map(({ name }) => name)).toEqual(["veza_ledger_receiver", "veza_ledger_sampler"]);
  expect(await bash(secret)).toBe("");
  const given = await walk.keepSecrets();
  expect(Object.keys(given)).toEqual(["veza-ledger-metrics/prod/receiver"]);
  expect(await bash(look, awsCredentials)).toMatch(/^✓ login +veza_ledger_sampler$/m);

  const folder = await mkdtemp(path.join(tmpdir(), "veza-first-hour-iam-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const block = load(walk.filled(params)) as { prod: object };
  const packaged = await packageService(folder, "prod", block.prod);
  const [sampler, receiver] = (["sampler", "receiver"] as const).map((name) => ({
    ...functionIn(packaged, name).Environment.Variables,
    ...awsCredentials,
    NODE_EXTRA_CA_CERTS: rds.certificatesFile,
    STAGE: stage,
  }));
  const webhookSecret = given["veza-ledger-metrics/prod/receiver"]?.WEBHOOK_SECRET;
  await tryFunctions(walk, stage, webhookSecret, sampler ?? {}, receiver ?? {});
  expect(rds.logins.length).toBeGreaterThan(3);
  expect(rds.logins.filter(({ problem }) => problem)).toEqual([]);
});
