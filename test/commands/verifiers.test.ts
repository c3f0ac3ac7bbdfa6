// A file of passwords becomes verifiers: what a shell reads from that file logs in, and nothing else is set.
import { execFileSync, spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import postgres from "postgres";
import { expect, it } from "vitest";
import { serverForFile } from "../helpers/database.ts";
import { needs } from "../helpers/needs.ts";
import { blocksOf } from "../helpers/pages.ts";
import { projectFolder } from "../helpers/processes.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const serverUrl = await serverForFile();
const url = serverUrl.replace(/\w+$/, "ledger"); // The only database that the logins may connect to.
function verifiers(input: string) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["commands/verifiers.ts"], {
    input,
    cwd: projectFolder,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

it.each(["0a1b2c", "a=b", "x,y.z+1^-_"])("%s logs in, as a shell reads it", async (password) => {
  const file = path.join(await newFolder(), "passwords");
  const lines = `\nveza_ledger_oncall=${password}\nveza_ledger=other\n`;
  await writeFile(file, lines);
  const read = execFileSync("sh", ["-c", `. ${file}; printf %s "$veza_ledger_oncall"`], { encoding: "utf8" });
  expect(read).toBe(password);
  const { status, stdout } = verifiers(lines);
  expect([status, stdout.includes(password)]).toEqual([0, false]);
  const admin = postgres(url, { max: 1 });
  await admin.unsafe(stdout).finally(() => admin.end());
  const login = postgres(url.replace("postgres:postgres@", `veza_ledger_oncall:${password}@`), { max: 1 });
  expect(await login`select current_user`.finally(() => login.end())).toEqual([{ current_user: "veza_ledger_oncall" }]);
});

it("the line of docs/settings.md gives two logins their passwords", await needs("psql"), async () => {
  const file = path.join(await newFolder(), "passwords");
  await writeFile(file, "veza_ledger_sampler=piped1\nveza_ledger_receiver=piped2\n");
  const line = (await blocksOf("docs/settings.md", "sh", "The database")).find((sh) => sh.includes("verifiers")) ?? "";
  const pasted = line.replace("<passwords", `<${file}`).replace(/postgres:\S+/, url);
  execFileSync("bash", ["-c", `set -o pipefail; ${pasted}`], { cwd: projectFolder });
  for (const [role, password] of [
    ["sampler", "piped1"],
    ["receiver", "piped2"],
  ]) {
    const login = postgres(url.replace("postgres:postgres@", `veza_ledger_${role}:${password}@`), { max: 1 });
    expect(await login`select 1 as one`.finally(() => login.end())).toEqual([{ one: 1 }]);
  }
});

it.each([
  ["a comment in it", "veza_ledger_oncall=hid#den"],
  ["quotes", 'veza_ledger_oncall="hidden"'],
  ["a space", "veza_ledger_oncall=hid den"],
  ["a space before it", "veza_ledger_oncall= hidden"],
  ["a line of Windows", "veza_ledger_oncall=hidden\r"],
  ["another alphabet", "veza_ledger_oncall=hïdden"],
  ["what a URL means otherwise", "veza_ledger_oncall=hid@den"],
  ["no password", "veza_ledger_oncall="],
  ["no role", "hidden"],
  ["another's role", "hidden_role=hidden"],
  ["a colon", "veza_ledger_oncall: hidden"],
  ["the role twice", "veza_ledger=hidden"],
])("%s is refused by its line, and nothing is set or shown", (_, line) => {
  const { status, stdout, stderr } = verifiers(`veza_ledger=first\n${line}\n`);
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^line 2: [^\n]+\n$/);
  expect(stderr).not.toMatch(/hid|hïd/);
});

it("no password changes where a login is in use in another database", async () => {
  const admin = postgres(serverUrl, { max: 1 });
  const passwords = () => admin`select rolname, rolpassword from pg_authid order by 1`;
  const before = await passwords();
  const { stdout } = verifiers("veza_ledger_oncall=first\nveza_ledger=second\n");
  await expect(admin.unsafe(stdout)).rejects.toThrow(
    "no password was changed, since these logins are in use elsewhere: veza_ledger to ledger, veza_ledger_oncall to",
  );
  expect(await passwords()).toEqual(before);
  await admin.end();
});

it.each(["", "\n"])("no line, as after a command that failed, is an error", (input) =>
  expect(verifiers(input)).toEqual({
    status: 1,
    stdout: "",
    stderr: "nothing was read: write lines such as veza_ledger_sampler=…\n",
  }),
);
