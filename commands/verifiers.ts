// The command verifiers <passwords: prints the SQL that gives roles their passwords. It has verifiers instead of the
// passwords themselves, so that no log of the server shows one. The input has lines such as veza_ledger_sampler=…
import { text } from "node:stream/consumers";
import { isOurs } from "./declared-rights.ts";
import { sqlName, sqlText } from "./quote.ts";
import { scramVerifier } from "./scram.ts";

/**
 * Returns SQL that gives roles their passwords, as what Postgres stores of them, so that no log of the server shows
 * one. `lines` are such as veza_ledger_sampler=…; a shell reads the same file. Throws a sentence that names the line,
 * and never what is in it, when a shell or a URL would read another password, or no role of this service is named; and
 * when there is no line, as after a command that failed.
 */
function verifiersSql(lines: string): string {
  const given = new Set<string>();
  const statements = lines.split("\n").map((line, index) => {
    if (line.trim() === "") return "";
    const problem = (what: string) => new Error(`line ${index + 1}: ${what}`);
    const [, role = "", password = ""] = /^(\w+)=(.*)$/s.exec(line) ?? [];
    if (!isOurs(role)) throw problem("write veza_ledger_sampler=…, or another of this service's roles");
    if (given.has(role)) throw problem(`${role} has a password already`);
    if (!/^[\w.,+=^-]+$/.test(password)) {
      throw problem("the password may have letters, digits and _ . , + = ^ - as by: openssl rand -hex 24");
    }
    given.add(role);
    return `alter role ${sqlName(role)} password ${sqlText(scramVerifier(password))};\n`;
  });
  if (given.size === 0) throw new Error("nothing was read: write lines such as veza_ledger_sampler=…");
  return refusal([...given]) + statements.join("");
}

/** SQL that stops where a role logs in to another database, too: a new password would lock that stage out. */
function refusal(roles: string[]): string {
  const names = `{${roles.join()}}`;
  return `do $$
declare
  problem text;
begin
  set local search_path = pg_catalog, pg_temp;
  select string_agg(distinct format('%s to %I', grantee::regrole, datname), ', ') into problem
  from pg_database, aclexplode(datacl) as acl
  where grantee in (select oid from pg_roles where rolname = any ('${names}'))
    and privilege_type = 'CONNECT' and datname <> current_database();
  if problem is not null then
    raise exception 'no password was changed, since these logins are in use elsewhere: %', problem
      using hint = 'Give this stage the password that they have there. Or change it in psql, and in all settings.';
  end if;
end $$;
`;
}

if (import.meta.main) {
  try {
    process.stdout.write(verifiersSql(await text(process.stdin)));
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}
