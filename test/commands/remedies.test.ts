import { exec } from "node:child_process";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { promisify } from "node:util";
import postgres from "postgres";
import { beforeAll, beforeEach, describe, expect, inject, it, onTestFinished } from "vitest";
import { run as runDoctor } from "../../commands/doctor.ts";
import { run as runMigrate } from "../../commands/migrate.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { trustCertificates } from "../../lib/certificates.ts";
import { checks } from "../../lib/checks.ts";
import { startPostgres } from "../../local/postgres.ts";
import { startPushgateway } from "../../local/programs.ts";
import { startAsOnRds } from "../helpers/as-on-rds.ts";
import { inProcess } from "../helpers/commands.ts";
import { insertRows } from "../helpers/models.ts";
import { newSecret } from "../helpers/receiver.ts";
import { httpServer } from "../helpers/servers.ts";

// The doctor's remedies, applied as they are printed, each until its line is gone: on a plain server, and as on RDS.

interface Profile {
  /** A connection string of this login. */
  as(login: string): string;
  /** The login that migrates, and that may create roles. */
  admin: string;
  schema: string;
  owner: string;
  /** The certificate authority of its server, in PEM. */
  ca?: string;
  /** As the superuser. */
  run(statements: string): Promise<object>;
  stop(): Promise<void>;
}

async function plain(): Promise<Profile> {
  const server = await startPostgres(0);
  const run = async (statements: string, database = "ledger") => {
    const sql = postgres(server.superuserUrl.replace(/\w+$/, database), { max: 1, onnotice: () => {} });
    const rows = await sql.unsafe(statements);
    await sql.end();
    return rows;
  };
  await run("create database ledger", "postgres");
  const as = (login: string) => `postgres://${login}:${login}@127.0.0.1:${server.port}/ledger`;
  await runSqlFiles(as("postgres"), ["local/ledger.sql"]);
  return { as, admin: "postgres", schema: "public", owner: "postgres", run, stop: () => server.stop() };
}

async function asOnRds(): Promise<Profile> {
  const rds = await startAsOnRds();
  return { ...rds, ca: await readFile(rds.ca, "utf8"), admin: "master", schema: "veza", owner: "veza_app" };
}

const settings = () => ({
  SECRET_ID: undefined,
  PUSHGATEWAY_URL: inject("pushgatewayUrl"),
  WEBHOOK_SECRET: newSecret(),
  STAGE: "remedies",
});
const functions = ["veza_ledger_sampler", "veza_ledger_receiver", "veza_ledger_oncall"];

describe.each([
  ["on a plain server", plain],
  ["as on RDS", asOnRds],
])("%s", (_, start) => {
  let profile: Profile;
  beforeAll(async () => {
    profile = await start();
    return () => profile.stop();
  });

  const migrateAs = (url: string, ...args: string[]) => {
    trustCertificates(profile.ca ? [profile.ca] : []); // As NODE_EXTRA_CA_CERTS makes a process do.
    return inProcess(runMigrate, args, { DATABASE_URL: url });
  };
  const migrate = (...args: string[]) => migrateAs(profile.as(profile.admin), ...args);

  /** What the doctor finds: its lines that are not ✓, each with its remedy. */
  async function doctor(role: "sampler" | "receiver", environment: Record<string, string> = {}) {
    const { output } = await inProcess(runDoctor, [role], {
      CA_CERTIFICATES: profile.ca,
      DATABASE_URL: profile.as(`veza_ledger_${role}`),
      ...settings(),
      ...environment,
    });
    const found = [...output.matchAll(/^([!✗] .*)\n +→ (.*)$/gm)];
    return found.map(([, line = "", remedy = ""]) => ({ line: line.replaceAll(/ {2,}/g, " "), remedy }));
  }

  /** Applies a remedy as it is printed. Throws when it is no command. */
  async function apply(remedy: string): Promise<void> {
    for (const step of remedy.split(/; (?=as |npm )|; then /)) {
      if (/see its|^run it again$/.test(step)) continue; // What another line fixes.
      const [, who = "", statement] = /^as (.+?): (.+)$/.exec(step) ?? [];
      const [, owner] = /^psql "postgres:\/\/(\w+)@/.exec(step) ?? [];
      if (statement) {
        const role = /^(\w+)$/.test(who) ? who : profile.admin;
        await profile.run(`set role ${role}; ${statement}`);
      } else if (owner) await promisify(exec)(step, { env: { ...process.env, PGPASSWORD: owner } });
      else if (/(^|: )npm run migrate( |$)/.test(step)) {
        expect(await migrate(...(/--schema \w+/.exec(step)?.[0].split(" ") ?? []))).toMatchObject({ exitCode: 0 });
      } else throw new Error(`no command: ${step}`);
    }
  }

  /** Runs the doctor and applies its remedies, until it finds nothing. Resolves to the first lines that it printed. */
  async function mend(role: "sampler" | "receiver"): Promise<string[]> {
    const first = await doctor(role);
    for (let found = first, tries = 0; found.length > 0; found = await doctor(role), tries += 1) {
      if (tries === 4) throw new Error(`still there: ${JSON.stringify(found)}`);
      for (const remedy of new Set(found.map((problem) => problem.remedy))) await apply(remedy);
    }
    return first.map(({ line }) => line);
  }

  it("migrate names what is missing until there is nothing, and nothing has changed before", async () => {
    for (const check of checks) {
      const rows = insertRows(check, 1, { age: "0 seconds" });
      await profile.run(rows.replace("insert into ", `insert into ${profile.schema}.`));
    }
    if (profile.admin === "master") {
      // The owner of the tables, who may not create roles.
      const { output } = await migrateAs(profile.as("veza_app"), "--schema", "veza");
      expect(output).toMatch(/^✗ veza_app may not create roles; run it as a login that may, such as the master user /);
      expect(output).toContain(
        "→ as a superuser: alter role veza_app createrole; as master: grant connect on database ",
      );
    }
    const { exitCode, output } = await migrate();
    if (profile.admin === "master") {
      expect(output).toMatch(/Nothing was changed\.$/);
      const [, remedy = ""] = /→ (.*)$/m.exec(output) ?? [];
      expect(remedy).toBe("as master: grant veza_app to master; npm run migrate -- --schema veza");
      await apply(remedy);
    } else expect(exitCode).toBe(0);
    for (const role of functions) await profile.run(`alter role ${role} password '${role}'`);
    expect(await mend("receiver")).toEqual([]);
    // Optional, and the tables are small.
    for (const line of await mend("sampler")) expect(line).toMatch(/^! indexes none serves/);
  });

  it("migrate as a login that did not make the roles, or the schema, names who can help", async ({ skip }) => {
    skip(profile.admin !== "master", "a superuser may do everything");
    await profile.run("create role stranger login createrole createdb password 'stranger'");
    const as = (database: string) => profile.as("stranger").replace("/ledger?", `/${database}?`);
    await profile.run("grant connect, create on database ledger to stranger");
    expect((await migrateAs(as("ledger"))).output).toMatch(/→ as master: npm run migrate$/m);

    // Another ledger on the same server, for which the roles are there already.
    await profile.run("create database other owner stranger");
    await runSqlFiles(as("other").replace("verify-full", "require"), ["local/ledger.sql"]);
    const { exitCode, output } = await migrateAs(as("other"));
    if (exitCode !== 0) {
      // From PostgreSQL 16 on.
      const [, grant = ""] = /→ as master: (.*); then run it again$/m.exec(output) ?? [];
      expect(grant).toMatch(/^grant (veza_ledger\w*(, )?){3} to stranger with admin option$/);
      await profile.run(grant);
      expect(await migrateAs(as("other"))).toMatchObject({ exitCode: 0 });
    }
  });

  it("migrate --iam without the admin option names who can give it", async ({ skip }) => {
    skip(profile.admin !== "master", "a superuser may do everything");
    const rows = await profile.run("select current_setting('server_version_num')::int as version");
    skip(Number((rows as { version: number }[])[0]?.version) < 160_000, "whoever makes roles may grant any");
    await profile.run("create role rds_iam");
    const { exitCode, output } = await migrate("--iam");
    const [, grant = ""] =
      /→ as the master user: (grant rds_iam to \w+ with admin option); then run it again/.exec(output) ?? [];
    expect([exitCode, grant]).toEqual([1, "grant rds_iam to master with admin option"]);
    await profile.run(grant);
    expect(await migrate("--iam")).toMatchObject({ exitCode: 0 });
  });

  describe("after that,", () => {
    beforeEach(async () => {
      expect(await migrate()).toMatchObject({ exitCode: 0 });
    });
    const inLedger = (table: string) => `${profile.schema}.${table}`;

    it("rights, settings and ways to read that were taken away", async () => {
      await profile.run(`
        revoke select (status) on ${inLedger("orders")} from veza_ledger_sampler;
        revoke usage on schema ledger_metrics from veza_ledger_sampler;
        revoke select (id) on ${inLedger("refunds")} from veza_ledger_oncall;
        alter role veza_ledger_oncall set timezone = 'Asia/Tokyo';
        alter role veza_ledger_sampler in database ledger set statement_timeout = '300ms'`);
      expect(await mend("sampler")).toEqual(
        expect.arrayContaining([
          "✗ role's settings statement_timeout of 300 ms is too short",
          "✗ ways to read veza_ledger_oncall reads with TimeZone Asia/Tokyo, veza_ledger_sampler with UTC",
          "✗ rights veza_ledger_sampler lacks rights",
          "✗ totals the role may not read ledger_metrics",
        ]),
      );
    });

    it("what people on call need to accept a row", async () => {
      await profile.run("revoke insert on ledger_metrics.accepted from veza_ledger_oncall");
      const [rights] = await doctor("sampler");
      expect(rights?.remedy).toMatch(/: grant insert \("check", id, until, why\) on ledger_metrics\.accepted to \w+$/);
      await apply(rights?.remedy ?? "");
      expect(await doctor("sampler")).toEqual([]);
    });

    it("a schema that the role may not use, which is not a wrong search_path", async () => {
      await profile.run(`revoke all on schema ${profile.schema} from public, veza_ledger_sampler`);
      const lines = await mend("sampler");
      expect(lines).toContain(`✗ table orders it is in ${profile.schema}, which the role may not use`);
      expect(lines.join("\n")).not.toMatch(/search_path/);
    });

    it("a database that the role may not connect to", async () => {
      await profile.run("revoke all on database ledger from public, veza_ledger_sampler");
      const [problem, ...more] = await doctor("sampler");
      expect([problem?.line, more]).toEqual(['✗ Postgres permission denied for database "ledger"', []]);
      expect(await mend("sampler")).toHaveLength(1);
    });

    it.each([
      ["may not log in", "nologin", /^✗ Postgres role "veza_ledger_receiver" is not permitted to log in$/, ""],
      ["has used up its connections", "connection limit 0", /^✗ Postgres too many connections for role/, "or "],
      [
        "has an expired password",
        "valid until '2020-01-01'",
        /^✗ Postgres password authentication failed/,
        "of this server: ",
      ],
    ])("a role that %s", async (_, change, line, before) => {
      await profile.run(`alter role veza_ledger_receiver ${change}`);
      const [problem] = await doctor("receiver");
      expect(problem?.line).toMatch(line);
      // A person decides what comes before it.
      const statement = problem?.remedy.slice((problem.remedy.indexOf(`${before}as `) ?? 0) + before.length) ?? "";
      await apply(statement.replace("NEW", "veza_ledger_receiver"));
      expect(await doctor("receiver")).toEqual([]);
      await profile.run("alter role veza_ledger_receiver connection limit 20");
    });

    it("a database that there is not, and a login without TLS where that is demanded", async () => {
      const url = profile.as("veza_ledger_receiver");
      expect(await doctor("receiver", { DATABASE_URL: url.replace("/ledger", "/nowhere") })).toEqual([
        {
          line: '✗ Postgres database "nowhere" does not exist',
          remedy: "name the ledger's database in DATABASE_URL; psql -l lists them",
        },
      ]);
      if (!profile.ca) return;
      const [problem] = await doctor("receiver", { DATABASE_URL: url.replace("verify-full", "disable") });
      expect(problem?.line).toMatch(/^✗ Postgres no pg_hba\.conf entry .*(no encryption|SSL off)$/);
      expect(problem?.remedy).toMatch(/^use \?sslmode=verify-full in DATABASE_URL/);
      const [unknown] = await doctor("receiver", { CA_CERTIFICATES: "" });
      // The other looks of this test apply it.
      expect(unknown?.remedy).toMatch(/^name a file with its certificate authority: NODE_EXTRA_CA_CERTS=ca\.pem /);
    });

    it.each([
      ["database", "alter database ledger"],
      ["role", "alter role veza_ledger_receiver"],
      ["role in this database", "alter role veza_ledger_receiver in database ledger"],
    ])("a %s that is read-only by default: deliveries would be answered with 503", async (_, alter) => {
      await profile.run(`${alter} set default_transaction_read_only = on`);
      expect(await mend("receiver")).toEqual([
        "✗ totals default_transaction_read_only is on: each delivery is answered with 503",
      ]);
      expect(await profile.run("select from ledger_metrics.deliveries")).not.toHaveProperty("0");
    });

    it("what deliveries need", async () => {
      await profile.run(`
        revoke insert on ledger_metrics.totals from veza_ledger_receiver;
        alter role veza_ledger_receiver in database ledger set synchronous_commit = off;
        alter role veza_ledger_receiver in database ledger set lock_timeout = '10ms'`);
      expect(await mend("receiver")).toEqual([
        "✗ role's settings lock_timeout of 10 ms is too short",
        "✗ rights veza_ledger_receiver lacks rights",
        "✗ totals the role may not write to ledger_metrics",
      ]);
      await profile.run("drop schema ledger_metrics cascade");
      expect(await mend("receiver")).toEqual(['✗ totals schema "ledger_metrics" does not exist']);
    });

    it("the login of the other function, and of people on call", async () => {
      const swapped = await doctor("sampler", { DATABASE_URL: profile.as("veza_ledger_receiver") });
      expect(swapped).toEqual([
        {
          line: "✗ login veza_ledger_receiver is the receiver's alone",
          remedy: "put the login veza_ledger_sampler into this secret: are the two secrets swapped?",
        },
      ]);
      for (const login of ["veza_ledger_sampler", "veza_ledger_oncall"]) {
        const found = await doctor("receiver", { DATABASE_URL: profile.as(login) });
        expect(found.map(({ line }) => line)).toEqual([expect.stringMatching(`^✗ login ${login} is (the|for) `)]);
      }
    });
  });
});

describe("the gateway", () => {
  /** What the doctor says of a gateway, without Postgres. */
  async function look(url: string): Promise<[string, string]> {
    const { output } = await inProcess(runDoctor, ["sampler"], {
      ...settings(),
      DATABASE_URL: "postgres://u:p@127.0.0.1:4/x",
      PUSHGATEWAY_URL: url,
    });
    const [, line = "", remedy = ""] = /^(. Pushgateway .*)\n?(?: +→ (.*))?$/m.exec(output) ?? [];
    return [line.replaceAll(/ {2,}/g, " "), remedy];
  }
  const shown = "✓ Pushgateway accepts a push and shows it";

  it("that speaks http and not https", async () => {
    const url = inject("pushgatewayUrl");
    const [line, remedy] = await look(url.replace("http:", "https:"));
    expect(line).toBe("✗ Pushgateway the push failed: the server does not speak TLS");
    expect(remedy).toMatch(/^write http:\/\/ in PUSHGATEWAY_URL/);
    expect(await look(url)).toEqual([shown, ""]);
  });

  it.each([
    [401, "check the user in PUSHGATEWAY_URL, or PUSHGATEWAY_TOKEN"],
    [404, "check the path in PUSHGATEWAY_URL"],
  ])("that answers %i", async (status, remedy) => {
    const url = await httpServer((_, response) => response.writeHead(status).end("no"));
    expect(await look(url)).toEqual([`✗ Pushgateway the Pushgateway answered ${status}: no`, remedy]);
  });

  it("that is two gateways behind one address", async () => {
    const other = await startPushgateway(0);
    onTestFinished(() => other.stop());
    const both = [inject("pushgatewayUrl"), other.url];
    let turn = 0;
    // A balancer that takes turns.
    const url = await httpServer((request, response) => {
      turn += 1;
      const to = new URL(request.url ?? "", both[turn % 2]);
      request.pipe(
        http.request(to, { method: request.method ?? "", headers: request.headers }, (answer) => {
          response.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(response);
        }),
      );
    });
    const [line, remedy] = await look(url);
    expect(line).toBe("✗ Pushgateway 4 of 8 reads did not show what was pushed: several gateways answer at this URL");
    expect(remedy).toBe("name one of them in PUSHGATEWAY_URL: each has numbers of its own");
    for (const gateway of both) expect(await look(gateway)).toEqual([shown, ""]);
  });
});
