import { askOn } from "../../lib/question.ts";
import { isLocalHost, loadSettings } from "../../lib/settings.ts";
import { connect } from "../connect.ts";
import { loginProblem } from "../login-problem.ts";
import { briefly, carefully, type Finding, orRemedy, type Scene, well, wrong } from "../look.ts";

/** Connects and logs in as the functions do. The looks after it find here how to ask, and as whom. */
export async function lookAtPostgres(scene: Scene): Promise<Finding> {
  const target = scene.settings.database;
  const findDatabase = async (fresh: boolean) => (fresh ? (await loadSettings("sampler", { fresh })).database : target);
  const database = await connect(findDatabase, "veza-ledger-doctor", scene.limit).catch((error) => {
    throw loginProblem(error, target);
  });
  scene.database = database;
  scene.ask = askOn(database, scene.limit, briefly);
  scene.count = askOn(database, scene.limit, carefully);
  const [row] = await database.sql`select session_user as login, current_setting('server_version') as version`;
  scene.login = String(row?.login);
  // A pooler in statement mode hangs up when an answer leaves a transaction open.
  await orRemedy(
    database.sql.unsafe("begin").then(() => database.sql.unsafe("rollback")),
    "a pooler before Postgres allows no transaction: set pool_mode = transaction for this database in PgBouncer",
  );
  return well(`${row?.version} on ${target.host}, as ${target.username}`);
}

/** Whether the connection is encrypted and the server verified, unless the server is on this machine. */
export async function lookAtTls({ settings }: Scene): Promise<Finding> {
  const { tls, host } = settings.database;
  if (tls === "verified") return well("certificate verified");
  if (tls === "off" && isLocalHost(host)) return well("not needed on this machine");
  return wrong(`the connection is ${tls === "off" ? "not encrypted" : "not verified"}`, "use sslmode=verify-full");
}
