import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { findOnPath } from "../local/find-on-path.ts";
import { type AsOnRds, startAsOnRds } from "./helpers/as-on-rds.ts";
import { scrape, wipe } from "./helpers/gateway.ts";
import { postgresPackage } from "./helpers/postgres-package.ts";
import { runProgram, runScript } from "./helpers/processes.ts";
import { fakeSecretsManager } from "./helpers/secrets.ts";

// The README's way from nothing to the first gauge and the first 200, as it is printed, on a database as RDS has it.

/** The README's commands under "Deploy", block by block. */
async function readmeBlocks(): Promise<string[]> {
  const [, deploy = ""] = (await readFile("README.md", "utf8")).split(/^## Deploy$/m);
  return [...deploy.matchAll(/^ *```sh\n([\s\S]*?)^ *```/gm)].map(([, block = ""]) => block.replaceAll(/^ {3}/gm, ""));
}

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
    const own = process.env.POSTGRES_PACKAGE;
    const other = await packaged().catch((error) => {
      isMissing = error;
      return undefined;
    });
    if (isMissing) return;
    if (other) process.env.POSTGRES_PACKAGE = other;
    rds = await startAsOnRds();
    if (own === undefined) delete process.env.POSTGRES_PACKAGE;
    else process.env.POSTGRES_PACKAGE = own;
    return () => rds.stop();
  });

  it("the README's commands, as printed, lead to the first gauge and the first 200, and back", async ({ skip }) => {
    skip(Boolean(isMissing) || !hasPsql, `PostgreSQL ${version} or psql could not be had: ${isMissing}`);
    await rds.run(`insert into veza.orders (status, hyperswitch_payment_id, created_at) values
      ('pending', 'pay', now() - interval '1 hour'), ('paid', 'pay', now())`);
    const [onRds = "", migrate = "", secrets = "", look = "", ...rest] = await readmeBlocks();
    expect(onRds).toContain("NODE_EXTRA_CA_CERTS"); // Which the test has made itself.
    const [join = ""] = /^psql .*'grant veza_app to master'$/m.exec(onRds) ?? [];
    expect(rest.join("")).toContain("npm run send -- ping");
    const ping =
      rest
        .join("")
        .split("\n")
        .find((line) => line.includes("npm run send")) ?? "";

    // The placeholders, and a fake of AWS' command line, which keeps what it is given.
    const folder = await mkdtemp(path.join(tmpdir(), "veza-first-hour-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    await mkdir(path.join(folder, "secrets"));
    await writeFile(
      path.join(folder, "aws"),
      `#!/bin/sh\n[ "$1 $2 $3 $5" = "secretsmanager create-secret --name --secret-string" ] || exit 1\n` +
        `printf %s "$6" >"${folder}/secrets/$(echo "$4" | tr / _)"\n`,
    );
    await chmod(path.join(folder, "aws"), 0o755);
    const stage = `first-hour-${version.replaceAll(" ", "-")}`;
    onTestFinished(() => wipe(stage));
    const filled = (block: string) =>
      block
        .replaceAll("master:password@host:5432/ledger", `master:master@${rds.address}/ledger?sslmode=verify-full`)
        .replaceAll("HOST:5432/DATABASE", `${rds.address}/ledger?sslmode=verify-full`)
        .replaceAll("psql postgres:", `PGSSLROOTCERT=${rds.ca} psql postgres:`)
        .replaceAll("https://push.example.com", inject("pushgatewayUrl"))
        .replaceAll("--schema public", "--schema veza")
        .replaceAll(/(\.\/)?\bpasswords\b/g, path.join(folder, "passwords"));
    const given: Record<string, unknown> = {};
    await fakeSecretsManager(given);
    const bash = async (block: string, environment: Record<string, string | undefined> = {}) => {
      const program = runProgram("bash", ["-euo", "pipefail", "-c", filled(block)], {
        DATABASE_URL: undefined,
        SECRET_ID: undefined,
        PUSHGATEWAY_URL: undefined,
        NODE_EXTRA_CA_CERTS: rds.ca,
        STAGE: stage,
        PATH: `${folder}:${path.resolve("node_modules/.bin")}:${process.env.PATH}`,
        ...environment,
      });
      await program.exited;
      return [program.child.exitCode, program.output()] as const;
    };

    expect(await bash(join)).toEqual([0, expect.stringContaining("GRANT ROLE")]);
    const [migrated, printed] = await bash(migrate);
    expect([migrated, printed]).toEqual([0, expect.stringMatching(/^✓ veza_ledger_oncall +logged in, and tried/m)]);
    expect(printed.match(/^✗.*/gm)).toBe(null);
    expect(await bash(secrets)).toEqual([0, ""]);
    for (const file of await readdir(path.join(folder, "secrets"))) {
      given[file.replaceAll("_", "/")] = JSON.parse(await readFile(path.join(folder, "secrets", file), "utf8"));
    }
    const [looked, lines] = await bash(look);
    expect([looked, lines.match(/^✗.*/gm)]).toEqual([0, null]);
    expect(lines).toMatch(/^✓ login +veza_ledger_sampler$/m);

    const [, sampler = ""] = /SECRET_ID=(\S+sampler)/.exec(look) ?? [];
    const functions = {
      NODE_EXTRA_CA_CERTS: rds.ca,
      STAGE: stage,
      DATABASE_URL: undefined,
      PUSHGATEWAY_URL: undefined,
    };
    const tick = runScript("test/programs/tick.ts", [], { ...functions, SECRET_ID: sampler });
    await tick.exited;
    expect(tick.output()).toMatch(/^counts .*"stuck_orders":1,/m);
    expect(await scrape(stage)).toMatchObject({ veza_ledger_stuck_orders_pending: 1 });

    const receiver = runScript("test/programs/receiver.ts", [], {
      ...functions,
      WEBHOOK_SECRET: undefined,
      SECRET_ID: sampler.replace("sampler", "receiver"),
    });
    const url = await receiver.printed(/receiver (\S+)/);
    const { WEBHOOK_SECRET = "" } = given[sampler.replace("sampler", "receiver")] as Record<string, string>;
    const sent = await bash(ping.replace(/https:\S+/, url), { WEBHOOK_SECRET });
    expect(sent).toEqual([0, expect.stringContaining("Recorded. It is on the gateway.")]);

    const [remove = ""] =
      /^psql .*indexes\.rollback[\s\S]*?(?=^```)/m.exec(await readFile("docs/deploy.md", "utf8")) ?? [];
    expect(remove).toContain("rollback.sql");
    const [removed, left] = await bash(remove);
    expect([removed, left.match(/^.*ERROR.*$/gm)]).toEqual([0, null]);
    expect(await rds.run("select rolname from pg_roles where rolname ~ 'veza_ledger'")).toHaveLength(0);
  });
});
