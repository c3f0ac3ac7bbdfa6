// The functions' settings in Secrets Manager: made once, compared with the stage's names, and edited by a person.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";
import { type FunctionName, parsePushgateway, settingNames } from "../../lib/settings/parse.ts";
import { newPassword, newWebhookSecret, type Settings, settingsFrom } from "../settings.ts";
import { limits } from "./clients.ts";
import { edit, editor, hasEditor } from "./editor.ts";
import { deployed, statusOf } from "./stack.ts";
import { Correction, list, type Stage, service } from "./stage.ts";
import { terminal } from "./step.ts";

export const functions: readonly FunctionName[] = ["sampler", "receiver"];

/** The secrets of a function, as SECRET_ID has them, and the first of them: its own. */
export const idsOf = (stage: Stage, name: FunctionName): string => stage[`${name}SecretId`];
const ownId = (stage: Stage, name: FunctionName): string => list(idsOf(stage, name))[0] ?? "";

/** Whether the steps may make and delete this secret. */
const isOurs = (id: string): boolean => id.startsWith(`${service}/`);

/** The text of a function's own secret. Undefined where there is none. */
async function textOf(stage: Stage, name: FunctionName): Promise<string | undefined> {
  try {
    const asked = new GetSecretValueCommand({ SecretId: ownId(stage, name) });
    return (await new SecretsManagerClient(limits).send(asked)).SecretString ?? "";
  } catch (error) {
    if (error instanceof ResourceNotFoundException) return undefined;
    throw error;
  }
}

/** The settings in a function's own secret. Undefined where there is none. */
export async function readSecret(stage: Stage, name: FunctionName): Promise<Settings | undefined> {
  const text = await textOf(stage, name);
  if (text === undefined) return undefined;
  const settings = settingsIn(text);
  if (settings) return settings;
  throw new Correction(
    `The secret ${ownId(stage, name)} is no JSON object: run npm run aws -- secret ${stage.stage} ${name}`,
  );
}

function settingsIn(text: string): Settings | undefined {
  try {
    const value = JSON.parse(text);
    return value instanceof Object && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined; // The parser's message would show a part of the secret.
  }
}

/** A URL without its password, and perhaps without the whole login. */
function bare(text: string, { username }: { username?: "" } = {}): string {
  const parsed = URL.parse(text);
  if (!parsed) return text;
  return Object.assign(parsed, { password: "" }, username === "" && { username }).href.replace(/\/$/, "");
}

/**
 * How a stage's functions log in to the gateway: as a secret of theirs says, else as somebody says now. Asks once,
 * since the secrets keep the answer.
 */
export async function gatewaySettings(stage: Stage): Promise<{ gateway: string; token: string }> {
  for (const name of functions) {
    const { PUSHGATEWAY_URL, PUSHGATEWAY_TOKEN } = (await readSecret(stage, name)) ?? {};
    if (!PUSHGATEWAY_URL) continue;
    const { username = "", password = "" } = URL.parse(PUSHGATEWAY_URL) ?? {};
    return gatewayWith(stage, { username, password, token: PUSHGATEWAY_TOKEN ?? "" });
  }
  const login = await terminal.secret("Login of the gateway, as user:password or a token, or nothing");
  const [user = "", ...password] = login.split(":");
  if (password.length === 0) return gatewayWith(stage, { token: login });
  const [username, encoded] = [user, password.join(":")].map(encodeURIComponent);
  return gatewayWith(stage, { username, password: encoded });
}

function gatewayWith({ gateway }: Stage, { username = "", password = "", token = "" }) {
  const PUSHGATEWAY_URL = Object.assign(new URL(gateway), { username, password }).href.replace(/\/$/, "");
  const problems: string[] = [];
  parsePushgateway({ PUSHGATEWAY_URL, PUSHGATEWAY_TOKEN: token }, problems);
  if (problems.length > 0) throw new Correction(`This can be no login of the gateway: ${problems.join("; ")}.`);
  return { gateway: PUSHGATEWAY_URL, token };
}

/** A function's settings, with a new password and a new webhook secret. */
function newSettings(stage: Stage, name: FunctionName, gateway: { gateway: string; token: string }): Settings {
  const isSampler = name === "sampler";
  const settings = settingsFrom(
    { ...stage, ...gateway, schema: isSampler ? stage.schema : "", timezone: isSampler ? stage.timezone : "" },
    {
      login: `veza_ledger_${name}`,
      password: stage.iam === "no" ? newPassword() : "",
      webhookSecret: isSampler ? "" : newWebhookSecret(),
    },
  );
  return { ...settings, ...(stage.ca && { CA_CERTIFICATES: readFileSync(path.resolve(stage.ca), "utf8") }) };
}

/** Makes the secrets that are not there, and names what differs in the others. */
export async function makeSecrets(stage: Stage): Promise<void> {
  const secrets = new SecretsManagerClient(limits);
  for (const name of functions) {
    const id = ownId(stage, name);
    const is = await readSecret(stage, name);
    if (is) {
      console.log(`Kept: ${id}`);
      const differ = differences(newSettings(stage, name, { gateway: stage.gateway, token: "" }), is);
      if (differ.length === 0) continue;
      console.log(`! It differs from stages.yml in ${differ.join(", ")}. If that is right, correct the secret:
  npm run aws -- secret ${stage.stage} ${name}`);
      continue;
    }
    if (!isOurs(id)) throw new Correction(`There is no secret ${id}, which ${name}SecretId in stages.yml names.`);
    await checkDeployed(stage, name);
    const wanted = newSettings(stage, name, await gatewaySettings(stage));
    // One that waits for its deletion stops here.
    await secrets.send(new CreateSecretCommand({ Name: id, SecretString: JSON.stringify(wanted, null, 2) }));
    console.log(`Made: ${id}`);
  }
}

/** A new secret has a new password, which locks out a function that is running by a secret of another name. */
async function checkDeployed(stage: Stage, name: FunctionName): Promise<void> {
  if (!(await statusOf(stage))) return;
  const of = await deployed(stage);
  const is = of(`${name === "sampler" ? "Sampler" : "Receiver"}LambdaFunction`).Environment?.Variables?.SECRET_ID;
  if (!is || is === idsOf(stage, name)) return;
  throw new Correction(`Nothing was made: there is no secret ${idsOf(stage, name)}, and the ${name} that is running has
another one. Write this line into stages.yml, under ${stage.stage}:
  ${name}SecretId: ${is}`);
}

/** The names of settings that differ, but for what no name says: passwords, logins of the gateway and signatures. */
function differences(wanted: Settings, is: Settings): string[] {
  const compared = settingNames.filter(
    (name) => !/^(WEBHOOK_SECRET|PUSHGATEWAY_TOKEN)$/.test(name) && (name !== "DATABASE_URL" || is[name]),
  );
  const known = (name: keyof Settings, { [name]: text = "" }: Settings) =>
    name === "DATABASE_URL" ? bare(text) : name === "PUSHGATEWAY_URL" ? bare(text, { username: "" }) : text;
  return compared.filter((name) => known(name, wanted) !== known(name, is));
}

/** Opens a secret in the editor, and stores it. */
export async function editSecret(stage: Stage, name: string): Promise<void> {
  const of = functions.find((one) => one === name);
  if (!of) throw new Correction(`Write npm run aws -- secret ${stage.stage} sampler, or receiver.`);
  if (!hasEditor()) throw new Correction("There is no terminal for vi: write another editor into EDITOR.");
  const old = await textOf(stage, of);
  if (old === undefined) {
    throw new Correction(`There is no secret ${ownId(stage, of)} yet: npm run aws -- install ${stage.stage} makes it.`);
  }
  const changed = await edited(old);
  if (changed === old) {
    throw new Correction(
      `Nothing was changed. If you have changed it, ${editor} did not wait until you closed the file.`,
    );
  }
  if (!settingsIn(changed)) {
    throw new Correction(
      "Nothing was changed: this is no JSON object. Is a comma or a quote missing, or one too many?",
    );
  }
  const stored = new PutSecretValueCommand({ SecretId: ownId(stage, of), SecretString: changed });
  await new SecretsManagerClient(limits).send(stored);
  console.log(`Stored. The functions read it within 5 minutes. Look again: npm run aws -- look ${stage.stage}`);
}

/** A text as somebody has left it in the editor. The file is gone before anything can wait, or end this process. */
async function edited(text: string): Promise<string> {
  const folder = mkdtempSync(path.join(tmpdir(), "ledger-")); // Readable for its owner alone.
  try {
    const file = path.join(folder, "secret.json");
    writeFileSync(file, text, { mode: 0o600 });
    const code = await edit(file);
    if (code) throw new Correction(`Nothing was changed: ${editor} has ended with ${code}.`);
    return readFileSync(file, "utf8");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export async function deleteSecrets(stage: Stage): Promise<void> {
  for (const id of functions.map((name) => ownId(stage, name)).filter(isOurs)) {
    const isGone = await new SecretsManagerClient(limits).send(new DeleteSecretCommand({ SecretId: id })).then(
      () => false,
      (error) => {
        if (error instanceof ResourceNotFoundException) return true;
        throw error;
      },
    );
    console.log(`${isGone ? "Gone before" : "Deleted"}: ${id}`);
  }
}
