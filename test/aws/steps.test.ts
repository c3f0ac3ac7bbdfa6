// `npm run aws` from a fresh clone to the first gauge and the first 200, on databases as RDS has them.
import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import postgres from "postgres";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { fillWithIam, startAsOnRds } from "../helpers/as-on-rds.ts";
import { names, newClone } from "../helpers/aws.ts";
import { scrape, wipe } from "../helpers/gateway.ts";
import { startLambda } from "../helpers/lambda.ts";
import { needs } from "../helpers/needs.ts";
import { functionIn, packageService } from "../helpers/packages.ts";
import { blocksOf } from "../helpers/pages.ts";
import { awsCredentials, startRds } from "../helpers/rds.ts";
import { startReceiver } from "../helpers/receiver.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";
import { httpServer } from "../helpers/servers.ts";

const rows = `insert into veza.orders (status, hyperswitch_payment_id, created_at) values
  ('pending', 'pay', now() - interval '1 hour'), ('paid', 'pay', now())`;

/** A clone whose stage is deployed on this machine, as CloudFormation and Lambda would on AWS. */
async function startStage(stage: string, environment: Record<string, string>) {
  onTestFinished(() => wipe(stage));
  let sampler: Awaited<ReturnType<typeof startLambda>> | undefined;
  const server = await httpServer(async ({ url }, response) => {
    if (url === "/invoke") return response.end(JSON.stringify((await sampler?.invoke({}))?.result));
    try {
      if (!sampler) await deploy();
      response.end("Service deployed to stack\n");
    } catch (error) {
      response.writeHead(500).end(String(error)); // npx prints it, and the step fails.
    }
  });
  async function deploy() {
    const packaged = await packageService(stage, (await clone.stages())[stage]);
    sampler = await startLambda(packaged, "sampler", environment);
    const { Variables } = functionIn(packaged, "receiver").Environment;
    await clone.answer("url", (await startReceiver({ ...Variables, ...environment })).url);
    await clone.answer("stack", "CREATE_COMPLETE");
  }
  const clone = await newClone(stage, server, environment);
  await fakeSecretsManager(clone.secrets);
  return clone;
}

/** The page's own lines, with this stage. */
const lines = (await blocksOf("docs/deploy.md", "sh", "Steps")).join("").replaceAll("prod", "STAGE");
const [nameIt, look, setUp] = lines
  .trim()
  .split("\n")
  .map((line) => (stage: string) => line.replaceAll("STAGE", stage));

/** Runs all steps, with Ctrl-C where a program is called so. Resolves to what was printed. */
async function breakOff(clone: Clone, stage: string, step: string, AWS_STOPS: string): Promise<string> {
  const line = clone.start(setUp?.(stage) ?? "", "master\n\n", { AWS_STOPS });
  await clone.stopped();
  line.signal("SIGINT");
  const { exitCode, output } = await line.ended;
  const last = output.trim().split("\n").at(-1);
  expect([exitCode, last]).toEqual([130, expect.stringMatching(`^Stopped at: ${step}\\. `)]);
  return output;
}

/** Fills in the names, and follows the page. Resolves to what the steps printed. */
async function walk(
  clone: Clone,
  stage: string,
  filledIn: Record<string, string>,
  login = "",
  stops: [string, string][] = [],
) {
  expect((await clone.run(nameIt?.(stage) ?? "")).output).toMatch(
    /^Added: .*\nCorrect these, [\s\S]* database is empty: /m,
  );
  expect((await clone.fillIn(filledIn)).output).toMatch(/^All names are in stages\.yml\. Next: /m);
  const looked = await clone.run(look?.(stage) ?? "", "veza_app\n");
  expect(looked.output).toMatch(
    /^No secret of this stage can be read[\s\S]*^✓ stuck_orders +1, the oldest 60 min old$/m,
  );
  expect(clone.secrets).not.toHaveProperty(`${service}/${stage}/sampler`);
  // Ctrl-C in each step that changes something; the line is run again, and goes on from there.
  for (const [step, where] of stops) {
    await breakOff(clone, stage, step, where);
    expect(await readdir(clone.project)).not.toContain("stages.yml.part");
  }
  const { exitCode, output } = await clone.run(setUp?.(stage) ?? "", `master\n${login}\n`);
  expect([exitCode, output.match(/^✗.*|^.*ERROR.*$/gm)], output).toEqual([0, null]);
  expect(output).toMatch(/^✓ login +veza_ledger_sampler$[\s\S]*^✓ login +veza_ledger_receiver$/m);
  expect(output).toContain('{"stuck_orders":1,"stuck_refunds":0');
  expect(output).toContain("Recorded. It is on the gateway.");
  expect(await scrape(stage)).toMatchObject({ veza_ledger_stuck_orders_pending: 1 });
  // A random secret is this long. None is in what is printed, or in what was a command line.
  const seen = `${output}${await clone.calls()}`;
  expect(seen).toMatch(/^secretsmanager [\s\S]*^npx [\s\S]*^lambda invoke/m);
  expect(seen).not.toMatch(/whsec_|[0-9a-f]{48}|s3cret/);
  return output;
}

const service = "veza-ledger-metrics";
const secretOf = ({ secrets }: { secrets: Record<string, string> }, stage: string, name: string) =>
  JSON.parse(secrets[`${service}/${stage}/${name}`] ?? "{}") as Record<string, string>;

type Clone = Awaited<ReturnType<typeof startStage>>;

/** Everything that a second run must leave as it is. */
const stateOf = async (clone: Clone, stage: string) => [
  await clone.stages(),
  secretOf(clone, stage, "sampler"),
  secretOf(clone, stage, "receiver"),
  await readFile(path.join(clone.project, "dist/ledger.yml"), "utf8"),
];

describe("leads, line by line of docs/deploy.md, to the first gauge and the first 200:", await needs("openssl"), () => {
  it("with passwords; again, it changes nothing; and it names what differs from the names", async () => {
    const rds = await startAsOnRds();
    onTestFinished(() => rds.stop());
    await rds.run(rows);
    const stage = "first-hour";
    const clone = await startStage(stage, { NODE_EXTRA_CA_CERTS: rds.ca });
    const database = `${rds.address}/ledger?sslmode=verify-full`;
    const filledIn = { ...names, database, gateway: inject("pushgatewayUrl"), iam: "no", ca: rds.ca };
    const first = await walk(clone, stage, { ...filledIn, alarmTopicArn: "none" }, "us@r:s3cret/%40");
    expect(first).toMatch(/^Set: the password of veza_ledger_sampler\nSet: .*_receiver$/m);
    expect(first).toContain("- CloudWatch's alarms notify nobody");
    expect(await clone.stages()).toEqual({ [stage]: { ...filledIn, alarmTopicArn: "none" } });
    expect(secretOf(clone, stage, "sampler")).toEqual({
      DATABASE_URL: expect.stringMatching(/^postgres:\/\/veza_ledger_sampler:[0-9a-f]{48}@127/),
      LEDGER_SCHEMA: "veza",
      LEDGER_TIMEZONE: "UTC",
      CA_CERTIFICATES: rds.certificates,
      PUSHGATEWAY_URL: inject("pushgatewayUrl").replace("//", "//us%40r:s3cret%2F%2540@"),
      STAGE: stage,
    });

    const before = await stateOf(clone, stage);
    const again = await clone.run(setUp?.(stage) ?? "", "", { PGPASSWORD: "master" });
    expect([again.exitCode, await stateOf(clone, stage)], again.output).toEqual([0, before]);
    expect(again.output.match(/^(Kept|Made|Set|!|stages\.yml): .*/gm)).toEqual([
      `Kept: ${service}/${stage}/sampler`,
      `Kept: ${service}/${stage}/receiver`,
      "Kept: the password of veza_ledger_sampler",
      "Kept: the password of veza_ledger_receiver",
    ]);

    // A topic reaches stages.yml after `none`. A secret is kept.
    await clone.fillIn({ ...filledIn, timezone: "Europe/Paris" });
    const wrong = await clone.run(setUp?.(stage) ?? "", "wrong\n");
    expect(wrong.exitCode).not.toBe(0);
    expect(wrong.output).toMatch(
      /password authentication failed for user "master"\npsql has ended with 2\.\nStopped at: database\. .* same line/,
    );
    // A password that was changed in the secret is what Postgres gets: rotation by hand.
    const id = `${service}/${stage}/sampler`;
    clone.secrets[id] = (clone.secrets[id] ?? "").replace(/:[0-9a-f]{48}@/, ":new%23pass@");
    const output = await breakOff(clone, stage, "deploy", "describe-stacks");
    expect(output.match(/^Set: .*/gm)).toEqual(["Set: the password of veza_ledger_sampler"]);
    expect(output).toContain("! It differs from stages.yml in LEDGER_TIMEZONE. If that is right, correct");
    expect(output).not.toMatch(/s3cret|new.*pass/);
    const login = { user: "veza_ledger_sampler", password: "new#pass", max: 1, ssl: { rejectUnauthorized: false } };
    const sampler = postgres(`postgres://${rds.address}/ledger`, login); // Decoded, as the function has it.
    expect(await sampler`select 1 as one`.finally(() => sampler.end())).toEqual([{ one: 1 }]);
    // Not those of another stage, whose block somebody has copied with its database.
    await clone.fillIn(filledIn, {}, "copied");
    const copied = await clone.run(setUp?.("copied") ?? "", "", { PGPASSWORD: "master" });
    expect(copied.output).toContain(`No password was changed: the totals in ledger are of the stage ${stage}, whose`);
    await clone.fillIn({ ...filledIn, timezone: "Europe/Paris" });
    // Not where another stage has it, too.
    await rds.run("create database other");
    await rds.run("grant connect on database other to veza_ledger_sampler");
    clone.secrets[id] = (clone.secrets[id] ?? "").replace(":new%23pass@", ":third@");
    await writeFile(path.join(clone.folder, ".pgpass"), "127.0.0.1:*:ledger:master:master\n");
    const shared = await clone.run(setUp?.(stage) ?? "");
    expect(shared.output).toContain("Password of master: from ~/.pgpass\n");
    expect(shared.output).toContain("No password was changed: veza_ledger_sampler is in use in other, too. Copy");
  });

  it("with IAM, without a password", async () => {
    const rds = await startRds(fillWithIam);
    const admin = postgres(rds.superuserUrl.replace(/\w+$/, "ledger"), { max: 1 });
    onTestFinished(() => admin.end());
    await admin.unsafe(rows);
    const stage = "first-hour-iam";
    const onAws = { ...awsCredentials, NODE_EXTRA_CA_CERTS: rds.certificatesFile };
    const clone = await startStage(stage, onAws);
    const filledIn = { ...names, database: `${rds.address}/ledger`, gateway: inject("pushgatewayUrl") };
    const output = await walk(clone, stage, { ...filledIn, ca: rds.certificatesFile }, "", [
      ["IAM", "rds modify-db-instance"],
      ["database", "config/postgres/install.sql"],
      ["secrets", "create-secret --name veza-ledger-metrics/first-hour-iam/receiver"],
    ]);
    expect(await clone.stages()).toMatchObject({ [stage]: { databaseResourceId: "db-ABCDEFGHIJKL01234" } });
    expect(output).not.toContain("Set: the password");
    expect((await clone.calls()).match(/^rds modify-db-instance/gm)).toHaveLength(2); // The first was broken off.
    expect(rds.logins.length).toBeGreaterThan(3);
    expect(rds.logins.filter(({ problem }) => problem)).toEqual([]);
  });
});
