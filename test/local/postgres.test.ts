// The PostgreSQL of npm start, which is started again when it dies.
import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { promisify } from "node:util";
import postgres from "postgres";
import { expect, it } from "vitest";
import { keepPostgres } from "../../local/postgres.ts";
import { captureLog } from "../helpers/log.ts";
import { isAlive } from "../helpers/processes.ts";

it("leaves no shared memory behind when it is stopped between a crash and the next start", async () => {
  captureLog();
  const server = await keepPostgres(0, [], 600, new AbortController().signal);
  const sql = postgres(server.superuserUrl, { max: 1 });
  const [row] = await sql`select pg_read_file('postmaster.pid') as file, current_setting('data_directory') as folder`;
  await sql.end();
  const lines: string[] = row?.file.split("\n");
  const [pid, segment] = [Number(lines[0]), Number(lines[6]?.trim().split(/\s+/)[1])];
  const segments = async () =>
    (await promisify(execFile)("ipcs", ["-m"])).stdout.match(/(?<=^\S+ +)\d+/gm)?.map(Number);
  expect(await segments()).toContain(segment);
  process.kill(pid, "SIGKILL");
  await expect.poll(() => isAlive(pid)).toBe(false);
  expect(await readdir(`${row?.folder}/pg_dynshmem`)).not.toEqual([]);
  await server.stop();
  expect(await segments()).not.toContain(segment);
  await expect(readdir(row?.folder)).rejects.toThrow("ENOENT");
});
