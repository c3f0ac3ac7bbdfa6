// npm run migrate, in a process with nothing else in it, whose link to Postgres dies: it says what it knows, and ends.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import postgres from "postgres";
import { beforeAll, expect, it } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { startPostgres } from "../../local/postgres.ts";
import { inLines } from "../helpers/doctor.ts";
import { timeScript } from "../helpers/processes.ts";
import { startProxy, type TcpProxy } from "../helpers/proxy.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

/** A server of this file's own, whose commits can be made to wait. */
let url: string;
let passwords: string;
let admin: postgres.Sql;
beforeAll(async () => {
  const server = await startPostgres(0);
  url = server.superuserUrl;
  passwords = path.join(await newFolder(), "passwords");
  await writeFile(passwords, "veza_ledger_receiver=secret");
  await runSqlFiles(url, ["local/ledger.sql"]);
  admin = postgres(url.replace(/\w+$/, "template1"), { max: 1, onnotice: () => {} });
  return async () => {
    await admin.end();
    await server.stop();
  };
});

/** Lets commits wait for a standby that there is not, or no longer. */
async function holdCommits(standby: "nobody" | ""): Promise<void> {
  await admin.unsafe(`alter system set synchronous_standby_names = '${standby}'`);
  await admin`select pg_reload_conf()`;
  const shown = () => admin`show synchronous_standby_names`;
  await expect.poll(shown).toMatchObject([{ synchronous_standby_names: standby }]);
}
const waiting = () => admin`select from pg_stat_activity where wait_event = 'SyncRep'`;
/** Ways of a link to die. */
const deaths: Record<string, (proxy: TcpProxy) => unknown> = {
  "a FIN": (proxy) => proxy.cut(false),
  "an RST": (proxy) => proxy.cut(true),
  silence: (proxy) => void proxy.mute(200_000),
  "a FATAL error": async () => {
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'`;
    await expect.poll(waiting).toHaveLength(0); // Before the commit could end otherwise.
  },
};
/** When the link dies: at the first piece with this text, or while the commit waits. And what is so then. */
interface Moment {
  inRequest?: string;
  inAnswer?: string;
  inCommit?: true;
  says: RegExp;
  has: boolean;
}
const nothing = /^✗ migrated .+\n {2}→ .*run it again\nNothing was changed\.\n$/;
const unknown = /^✗ migrated .+\n {2}→ run it again\nIt is unknown whether it was changed\.\n$/;
const moments: Record<string, Moment> = {
  "before the SQL is sent": { inRequest: "pg_db_role_setting", says: nothing, has: false },
  "in the SQL": { inRequest: "create schema ledger_metrics", says: nothing, has: false },
  "in the commit": { inCommit: true, says: unknown, has: true },
  "after the commit": { inAnswer: "COMMIT", says: unknown, has: true },
  "in a try-out": {
    inRequest: "insert into ledger_metrics.deliveries",
    says: /^✓ migrated .*\n✓ veza_ledger_sampler .*\n✗ .+\n {2}→ run it again\n$/,
    has: true,
  },
};

/** Starts the command on a ledger of its own. Resolves when its link is dead. */
async function start(death: string, name: string) {
  const { inRequest, inAnswer, inCommit, says, has } = moments[name] as Moment;
  const database = `${death} ${name}`.replaceAll(/\W/g, "").toLowerCase();
  await admin.unsafe(`create database ${database} template postgres`);
  const dead = Promise.withResolvers<void>();
  const die = () => {
    dead.resolve();
    return deaths[death]?.(proxy);
  };
  const proxy: TcpProxy = await startProxy(Number(new URL(url).port), {
    allow(chunk) {
      if (inRequest && chunk.includes(inRequest)) die();
      return true;
    },
    answer(chunk) {
      if (!inAnswer || !chunk.includes(inAnswer)) return chunk;
      die();
      return Buffer.alloc(0);
    },
  });
  if (inCommit) await holdCommits("nobody");
  const DATABASE_URL = url.replace(/:\d+\/.*/, `:${proxy.port}/${database}`);
  const program = await timeScript("commands/migrate.ts", ["--password-from", passwords], { DATABASE_URL });
  if (inCommit) {
    await expect.poll(waiting).toHaveLength(1);
    await die();
    await holdCommits("");
  }
  await Promise.race([dead.promise, program.exited.then(() => expect.fail(`${name}: ${program.output()}`))]);
  return async () => {
    const tookMs = await program.tookMs;
    expect([program.child.exitCode, `${inLines(program.output().trimEnd())}\n`], name).toEqual([
      1,
      expect.stringMatching(says),
    ]);
    expect(tookMs, name).toBeLessThan(30_000);
    const sql = postgres(url.replace(/\w+$/, database), { max: 1 });
    const isMigrated = async () => (await sql`select from pg_namespace where nspname = 'ledger_metrics'`).length > 0;
    await expect.poll(isMigrated, { message: name }).toBe(has);
    await sql.end();
  };
}

it.each(Object.keys(deaths))("a link that dies by %s: true words, the exit code 1, within 30 s", async (death) => {
  const checks: (() => Promise<void>)[] = [];
  for (const name of Object.keys(moments)) {
    if (death !== "a FATAL error" || name === "in the commit") checks.push(await start(death, name));
  }
  for (const check of checks) await check();
});
