// The PostgreSQL of npm start, which is started again when it dies.
import { readdir } from "node:fs/promises";
import postgres from "postgres";
import { expect, it } from "vitest";
import { keepPostgres } from "../../local/postgres.ts";
import { captureLog } from "../helpers/log.ts";
import { isAlive, sharedSegments } from "../helpers/processes.ts";

it("leaves no shared memory behind when it is stopped between a crash and the next start", async () => {
  captureLog();
  const server = await keepPostgres(0, [], 600, new AbortController().signal);
  const sql = postgres(server.superuserUrl, { max: 1 });
  const [row] = await sql`select pg_read_file('postmaster.pid') as file, current_setting('data_directory') as folder`;
  await sql.end();
  const lines: string[] = row?.file.split("\n");
  const [pid, segment] = [Number(lines[0]), Number(lines[6]?.trim().split(/\s+/)[1])];
  expect(await sharedSegments()).toContain(segment);
  process.kill(pid, "SIGKILL");
  await expect.poll(() => isAlive(pid)).toBe(false);
  expect(await readdir(`${row?.folder}/pg_dynshmem`)).not.toEqual([]);
  await server.stop();
  expect(await sharedSegments()).not.toContain(segment);
  await expect(readdir(row?.folder)).rejects.toThrow("ENOENT");
});
