import { codeOf } from "../../lib/database.ts";
import { errorFields } from "../../lib/log.ts";
import { lockAndReadTotals } from "../../lib/publish.ts";
import { type Finding, Problem, type Scene, well, wrong } from "../look.ts";
import { tryDelivery } from "../trial.ts";

/** Records a delivery, locks and reads the totals, and takes both back. */
export async function lookAtTotals({ database: { sql }, functions }: Scene): Promise<Finding> {
  const migrate = "npm run migrate";
  const [row] =
    await sql`select to_regnamespace('ledger_metrics') is null as is_missing, pg_is_in_recovery() as is_replica,
      current_setting('synchronous_commit') = 'off' as forgets,
      (select source from pg_settings where name = 'default_transaction_read_only') as read_only_by,
      quote_ident(session_user) as login, quote_ident(datname) as database, datdba::regrole::text as owner
      from pg_database where datname = current_database()`;
  if (row?.is_replica) return wrong("not published from a replica", "name the primary in DATABASE_URL");
  if (row?.is_missing) return wrong('schema "ledger_metrics" does not exist', migrate);
  const attempt = async (may: string, begin: string, work: () => PromiseLike<unknown>) => {
    try {
      if (begin) await sql.unsafe(begin);
      await work();
    } catch (error) {
      if (codeOf(error) === "42501") throw new Problem(`the role may not ${may} ledger_metrics`, migrate);
      if (codeOf(error) === "25006") {
        throw new Problem("default_transaction_read_only is on: each delivery is answered with 503", remedyFor(error));
      }
      throw new Problem(errorFields(error).reason, remedyFor(error));
    } finally {
      await sql.unsafe("rollback").catch(() => {}); // For the same reason, when that fails too.
    }
  };
  const remedyFor = (error: unknown) => {
    if (codeOf(error) !== "25006") return codeOf(error) === "55P03" ? "run it again" : migrate;
    const { login, database, owner } = row ?? {};
    const reset = "reset default_transaction_read_only";
    const bySource: Record<string, string> = {
      database: `as ${owner}: begin read write; alter database ${database} ${reset}; commit`,
      user: `as a login that may create roles: alter role ${login} ${reset}`,
      "database user": `as a login that may create roles: alter role ${login} in database ${database} ${reset}`,
    };
    return bySource[row?.read_only_by] ?? "have the server take writes: default_transaction_read_only is on for all";
  };
  await attempt("read", "", () => sql.unsafe(lockAndReadTotals));
  if (!functions.receiver) return well("ledger_metrics is there, and readable");
  await attempt("write to", "begin", () => tryDelivery(sql));
  if (row?.forgets) {
    return wrong("a crash of Postgres would lose what was answered (synchronous_commit is off)", migrate);
  }
  return well("ledger_metrics is there, and writable");
}
