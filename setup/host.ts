// What ./setup asks for on a host: all that is read or written as data. Its steps, in the archive's folder `host`,
// start the system's programs.
import { chmodSync, existsSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { text as textOfStream } from "node:stream/consumers";
import { command, Misuse, type Out, start } from "../commands/command.ts";
import { parsePushgateway } from "../lib/settings/parse.ts";
import { drill } from "./drill.ts";
import { deleteGroups } from "./gateway.ts";
import { put, Stop, textOf } from "./host/files.ts";
import { type NamesOfHost, namesFile, readNamesOfHost, readNamesToLeave, variablesOf } from "./host/names.ts";
import { addressesOf, differing, placeOf, readNginx, siteOf, takenFrom } from "./host/nginx.ts";
import { leftOfPrometheus } from "./host/prometheus.ts";
import { leftOfRoute } from "./host/route.ts";
import { linesOf, nextFile, passwordOf, settingsFile, settingsIn, settingsOf, type Texts } from "./host/settings.ts";
import { linked } from "./links.ts";
import type { Names } from "./names.ts";

const usage = `usage: bin/veza-ledger-metrics host WORD, for ./setup
  names              checks ${namesFile}, and prints each name and its text, with a NUL behind each
  names-to-leave     the same, as the removal needs them
  settings           writes ${nextFile}, unless the settings are as the names have them
  password           prints the service's password
  rules FILE         writes the rules into FILE, and dashboard.json
  site               reads what nginx -T prints, writes the receiver's site, and prints its place
  differing SITE     prints each line of the site that the names have otherwise
  prometheus FILE    prints what is left to do with Prometheus, where FILE has the rules
  route RECEIVER     prints what is left to do where amtool says that a page goes to RECEIVER
  drill              sends one alert through your monitoring
  delete-groups      deletes the service's numbers on the gateway`;

const folder = path.join(import.meta.dirname, "..");
const config = path.join(folder, "config");
const route = "/etc/prometheus/alertmanager.yml";
/** Until a Prometheus that has just read its configuration shows rules, and has scraped. */
const settleMs = 30_000;

/** What it does for each word. Resolves to an exit code other than 0. */
const words: Record<string, (argument: string, out: Out) => Promise<number | undefined> | undefined> = {
  async names() {
    print(variablesOf(textsOf(await readNamesOfHost(textOfNames()))));
    return undefined;
  },
  "names-to-leave"() {
    print(variablesOf(textsOf(readNamesToLeave(textOfNames()))));
    return undefined;
  },
  async settings(_, out) {
    writeSettings(await names(), out);
    return undefined;
  },
  password() {
    process.stdout.write(passwordOf(settings(nextFile) ?? settings(settingsFile) ?? {}));
    return undefined;
  },
  async rules(file) {
    const { rules, dashboard } = linked(config, await names());
    put(path.join(folder, "dashboard.json"), dashboard, 0o644);
    put(file, rules, 0o644);
    return undefined;
  },
  async site(_, out) {
    const dump = await textOfStream(process.stdin);
    const nginx = readNginx(dump);
    const place = placeOf(nginx);
    if (!place)
      throw new Stop("  nginx reads no folder of sites: add `include /etc/nginx/conf.d/*.conf;` to its `http`.");
    const { port, ...named } = await names();
    const addresses = addressesOf(nginx, existsSync("/proc/net/if_inet6"));
    const [stream] = nginx.streams;
    if (addresses.length === 0 && stream) {
      throw new Stop(`  No site was made: nginx has port 443 in a \`stream\`, in ${stream.file}, and would not start
  again. Leave certificate and key empty, by ./setup names. Let nginx pass POST requests for the name on to
  http://127.0.0.1:${port}, in a site that your stream leads to.`);
    }
    const site = siteOf(shippedSite(), { ...named, port }, addresses);
    const taken = takenFrom(readNginx(dump, [[place, site]]));
    if (taken.length > 0) {
      const why = "No site was made: it would answer where another one does so far. Before it is made:";
      throw new Stop([why, ...taken].map((line) => `  ${line}`).join("\n"));
    }
    put(place, site, 0o644);
    out.log(place);
    return undefined;
  },
  async differing(site, out) {
    const lines = differing(textOf(site) ?? "", siteOf(shippedSite(), await names(), []));
    for (const line of lines) out.log(`Let ${site} and your names agree on \`${line}\``);
    return undefined;
  },
  async prometheus(rules, out) {
    const named = await names();
    const gateway = Object.assign(new URL(named.gateway), { username: "", password: "" });
    const isOurs = named.servers.split(/\s+/).includes("prometheus");
    const asked = { ...named, gateway: gateway.href.replace(/\/$/, ""), rules };
    for (const line of await leftOfPrometheus(asked, isOurs ? settleMs : 0)) out.log(line);
    return undefined;
  },
  async route(receiver, out) {
    const { stage, repository } = await names();
    for (const line of leftOfRoute(textOf(route) ?? "", { file: route, receiver, stage, repository })) out.log(line);
    return undefined;
  },
  async drill(_, out) {
    const { gateway, token } = await names();
    const target = parsePushgateway({ PUSHGATEWAY_URL: gateway, PUSHGATEWAY_TOKEN: token }, []);
    return target && (await drill(target, out));
  },
  async "delete-groups"(_, out) {
    const there = settings(settingsFile) ?? {};
    const target = parsePushgateway(there, []);
    for (const line of target ? await deleteGroups(target, there.STAGE || undefined) : []) out.log(`  ${line}`);
    return undefined;
  },
};

/** Prints what is wrong, for the step that has asked, and ends with 1 then. */
const run = command(usage, {}, async (_values, [word = "", argument = ""], out) => {
  const work = Object.hasOwn(words, word) ? words[word] : undefined;
  if (!work) throw new Misuse(word ? `there is no word ${word}` : "write a word");
  return (await work(argument, out)) ?? 0;
});

function textOfNames(): string {
  const text = textOf(namesFile);
  if (text === undefined) throw new Stop("✗ There are no names yet: run ./setup names.");
  chmodSync(namesFile, 0o600); // The gateway's address may have a password.
  return text;
}

/** The texts of names that are right. Throws a Stop with all that is wrong. */
function textsOf({ texts, problems }: Names<keyof NamesOfHost>): NamesOfHost {
  if (problems.length === 0) return texts;
  const last = `✗ Nothing was changed. Correct ${namesFile}, by ./setup names, and run this again.`;
  throw new Stop([...problems.map((problem) => `✗ ${problem}`), last].join("\n"));
}

const names = async (): Promise<NamesOfHost> => textsOf(await readNamesOfHost(textOfNames()));

function print(variables: Texts): void {
  const texts = Object.entries(variables).flat();
  process.stdout.write(texts.map((text) => `${text}\0`).join(""));
}

/** The settings in a file; undefined where there is none. */
function settings(file: string): Texts | undefined {
  const text = textOf(file);
  return text === undefined ? undefined : settingsIn(text);
}

function writeSettings(named: NamesOfHost, out: Out): void {
  const inUse = settings(settingsFile);
  const { settings: wanted, changes } = settingsOf(named, inUse ?? settings(nextFile) ?? {});
  if (inUse && changes.length === 0) {
    rmSync(nextFile, { force: true });
    out.log(`  Kept: ${settingsFile}`);
    return;
  }
  put(nextFile, linesOf(wanted), 0o600);
  if (!inUse) out.log(`  Made: ${nextFile}, with the service's password and secret.`);
  else for (const change of changes) out.log(`  ${change}`);
  out.log(`  They take the place of ${settingsFile} when they were tried.`);
}

const shippedSite = () => readFileSync(path.join(config, "nginx/veza-ledger-metrics.conf"), "utf8");

async function ofSetup(args: string[], out: Out): Promise<number> {
  try {
    return await run(args, out);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    out.error(error.message);
    return 1;
  }
}

if (import.meta.main) await start(ofSetup);
