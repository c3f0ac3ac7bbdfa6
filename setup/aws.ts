// `npm run aws`: a stage on AWS, from its names to its removal: docs/deploy.md. Secrets go through this process and
// AWS' API: no list of processes shows them.
import { start } from "../commands/command.ts";
import { settingNames } from "../lib/settings/parse.ts";
import { askForMfa } from "./aws/clients.ts";
import { install, setPasswords, trust, uninstall } from "./aws/database.ts";
import { deploy, ping, tick } from "./aws/deploy.ts";
import { edit, hasEditor } from "./aws/editor.ts";
import { turnOnIam } from "./aws/iam.ts";
import { look, lookWithSecrets } from "./aws/look.ts";
import { sendDrill, writeForPeopleOnCall, writeRules } from "./aws/monitoring.ts";
import { makeRole } from "./aws/role.ts";
import { deleteSecrets, editSecret, makeSecrets } from "./aws/secrets.ts";
import { addBlock, type Name, readStages, type Stage, stageIn } from "./aws/stage.ts";
import { agrees, orSay, ProgramFailed, program, rights, runSteps, type Step } from "./aws/step.ts";

const usage = `usage: npm run aws -- COMMAND STAGE

  names STAGE               adds the stage to stages.yml, opens it in $EDITOR, and
                            checks each name
  look STAGE                counts, and changes nothing
  install STAGE             all steps, from the database to the rules
  deploy STAGE [OPTION...]  deploys, and tries one tick: for pipelines
  rules STAGE               writes dist/ledger.yml and dist/ledger.json, with your
                            addresses
  oncall STAGE              writes oncall-STAGE.mjs, for people on call
  secret STAGE FUNCTION     opens the secret of the sampler or the receiver in
                            $EDITOR, and stores it
  drill STAGE               sends one alert through your monitoring
  role STAGE people ARN     makes the role that may deploy, for a role or user
  role STAGE github OWNER/NAME OWNER_ID NAME_ID
  remove STAGE              removes the stage, after a question for each part`;

/** All of them, in their order. */
const steps: Step[] = [
  {
    name: "IAM",
    remedy: `${rights} If AWS finds no database, write the host's name as RDS prints it.`,
    run: turnOnIam,
  },
  { name: "database", remedy: "All of it is installed, or nothing: psql sends one transaction.", run: install },
  {
    name: "secrets",
    remedy: `${rights} A deleted secret comes back by aws secretsmanager restore-secret --secret-id NAME.`,
    run: makeSecrets,
  },
  { name: "passwords", run: setPasswords },
  { name: "look", run: lookWithSecrets },
  { name: "deploy", remedy: `${rights} Correct what AWS names.`, run: (stage) => deploy(stage) },
  { name: "tick", remedy: rights, run: tick },
  { name: "ping", run: ping },
  { name: "rules", run: writeRules },
];

async function installAll(stage: Stage): Promise<void> {
  await trust(stage);
  await runSteps(
    steps.filter(({ name }) => (stage.iam === "yes" ? name !== "passwords" : name !== "IAM")),
    stage,
  );
  const alarms =
    stage.alarmTopicArn === "none"
      ? "CloudWatch's alarms notify nobody: write a topic into alarmTopicArn, as docs/alarms.md says."
      : "CloudWatch's alarms mail their first state within 20 minutes. If none arrives: docs/alarms.md";
  console.log(`
Done. Left to do by hand:
- Commit stages.yml.
- Prometheus loads dist/ledger.yml, scrapes the gateway and gets a flag: docs/servers-in-use.md#prometheus
- Alertmanager gets the route, with your URLs in the place of 127.0.0.1:9999: docs/servers-in-use.md#alertmanager
- Grafana imports dist/ledger.json.
- ${alarms}
- An alert reaches your phone: docs/drill.md. Then people on call: docs/people-on-call.md`);
}

async function remove(stage: Stage): Promise<void> {
  await trust(stage);
  if (await agrees(`Delete the functions, their alarms and logs of ${stage.stage}?`)) {
    const code = await program(["npx", "serverless", "remove", "--stage", stage.stage]);
    if (code) throw new ProgramFailed(`serverless remove has ended with ${code}.`);
  }
  if (await agrees(`Delete the secrets of ${stage.stage}? AWS keeps them for 30 days.`)) await deleteSecrets(stage);
  const { admin, database } = stage;
  if (admin === "none") {
    console.log(`Your DBA runs, in this folder: psql -f config/postgres/uninstall.sql postgres://LOGIN@${database}`);
  } else if (await agrees(`Drop the schema ledger_metrics in ${database}, with the totals, and the logins?`)) {
    await uninstall(stage);
  }
  console.log("Left to do by hand: docs/removal.md");
}

const forSteps = "database admin gateway repository grafana alarmTopicArn".split(" ") as Name[];

/** A command, the names that it needs, and how many arguments it takes at most behind the stage. */
type Command = [needed: Name[], most: number, run: (stage: Stage, rest: string[]) => unknown];
/** Commands that ask nothing of AWS, or may do without its answer. */
const withoutAws = ["names", "rules", "look"];

const commands: Record<string, Command> = {
  names: [forSteps, 0, ({ stage }) => console.log(`All names are in stages.yml. Next: npm run aws -- look ${stage}`)],
  look: [["database"], 0, async (stage) => trust(stage).then(() => look(stage))],
  install: [forSteps, 0, installAll],
  deploy: [["alarmTopicArn"], Infinity, async (stage, rest) => deploy(stage, rest).then(() => tick(stage))],
  rules: [["repository", "grafana"], 0, writeRules],
  oncall: [["database", "gateway"], 0, writeForPeopleOnCall],
  secret: [[], 1, async (stage, [name = ""]) => editSecret(stage, name)],
  drill: [["gateway"], 0, sendDrill],
  role: [[], 4, makeRole],
  remove: [["database", "admin"], 0, remove],
};

await start(async ([word = "", name = "", ...rest]) => {
  if ([word, name].some((text) => /^(-h|--help)$/.test(text))) {
    console.log(usage);
    return 0;
  }
  const command = Object.hasOwn(commands, word) ? commands[word] : undefined;
  if (!command || !name || rest.length > command[1]) {
    const ofCommand = name ? `${word} takes one stage alone.\n` : "Which stage?\n";
    const problem = command ? ofCommand : word && `There is no command ${word}.\n`;
    console.error(`${problem}${usage}`);
    return 2;
  }
  // What leads the doctor to other settings, or to another password.
  const strange = Object.keys(process.env).filter((variable) => variable.startsWith("PG"));
  for (const variable of [...settingNames, "SECRET_ID", ...strange]) delete process.env[variable];
  return await orSay(async () => {
    if (word === "names") {
      if (addBlock(name)) console.log(`Added: the block of ${name} in stages.yml`);
      if (hasEditor()) await edit("stages.yml");
    }
    const stage = stageIn(readStages(), name, command[0]);
    Object.assign(process.env, { AWS_REGION: stage.region, AWS_DEFAULT_REGION: stage.region });
    if (!withoutAws.includes(word)) await askForMfa();
    return Number((await command[2](stage, rest)) ?? 0);
  });
});
