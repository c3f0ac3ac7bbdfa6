// The doctor and the ping, with the settings that the functions have.
import type { Run } from "../../commands/command.ts";
import { run as doctor } from "../../commands/doctor.ts";
import { run as send } from "../../commands/send.ts";
import { databaseUrl } from "../kinds.ts";
import { passwordOf } from "./database.ts";
import { functions, idsOf, readSecret } from "./secrets.ts";
import { Correction, type Stage } from "./stage.ts";

/** Runs a command with these settings in the environment, and no others; resolves to its exit code. */
async function runWith(settings: Record<string, string>, run: Run, ...args: string[]): Promise<number> {
  Object.assign(process.env, settings);
  try {
    return await run(args, console);
  } finally {
    for (const name of Object.keys(settings)) delete process.env[name];
  }
}

/** Looks with both secrets. Throws a Correction where anything is wrong. */
export async function lookWithSecrets(stage: Stage): Promise<void> {
  const codes: number[] = [];
  for (const name of functions) codes.push(await runWith({ SECRET_ID: idsOf(stage, name) }, doctor, name));
  if (codes.some(Boolean)) throw new Correction("Apply the remedy below each ✗.");
}

/** Looks with both secrets or, where they are not there or may not be read, by a login of the reader's. */
export async function look(stage: Stage): Promise<void> {
  const stored = await readSecret(stage, "sampler").catch((error) => {
    if (error instanceof Correction) throw error;
    console.log(`${error.name}: ${error.message}`);
  });
  if (stored) return await lookWithSecrets(stage);
  const { reader, database, schema, timezone } = stage;
  const why = "No secret of this stage can be read";
  if (!reader) throw new Correction(`${why}. Write reader into stages.yml: a login for the look.`);
  console.log(`${why}, so this looks with a login of yours.`);
  const settings = { PGPASSWORD: await passwordOf(reader, database), LEDGER_SCHEMA: schema, LEDGER_TIMEZONE: timezone };
  const url = databaseUrl(database, reader);
  if (await runWith(settings, doctor, url)) throw new Correction("Apply the remedy below each ✗.");
}

/** An empty delivery: it tries URL, secret, database and gateway, and changes no number. */
export async function sendPing(stage: Stage, url: string): Promise<void> {
  const code = await runWith({ RECEIVER_URL: url, SECRET_ID: idsOf(stage, "receiver") }, send, "ping");
  if (code) throw new Correction("The ping was not recorded: the lines above say why.");
}
