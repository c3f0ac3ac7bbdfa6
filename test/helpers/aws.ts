// `npm run aws` in a clone, with a stand-in for AWS.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { load } from "js-yaml";
import { onTestFinished, vi } from "vitest";
import { type Arranged, fakeAws } from "./aws-server.ts";
import { copyProject } from "./copy.ts";
import { withoutSettings } from "./environment.ts";
import { newFolder } from "./temporary-folder.ts";

type Environment = Record<string, string | undefined>;

/**
 * A clone on a machine with this stand-in, for tests of one stage. `server` plays CloudFormation and Lambda, if there is
 * one: `npx serverless deploy` asks it for /deploy, and `aws lambda invoke` for /invoke.
 */
export async function newClone(stage: string, server = "", more: Environment = {}) {
  const [project, folder, bin] = await Promise.all([copyProject(), newFolder(), newFolder()]);
  // Where AWS_STOPS says so, a program waits, so that a test can break off the step.
  const stop = `case "\${0##*/} $*" in *"\${AWS_STOPS:-nowhere}"*) touch "$AWS_FOLDER/stopped"; exec /bin/sleep 600 ;; esac`;
  const program = (name: string, script: string) =>
    writeFile(path.join(bin, name), `#!/bin/sh\n${stop}\n${script}\n`, { mode: 0o755 });
  const noted = (more = "") => `echo "\${0##*/} $*${more}" >>"$AWS_FOLDER/calls"`;
  // What `npm run aws -- ARGUMENTS` starts: npm itself takes half a second of CPU time.
  await program(
    "npm",
    `file=setup/aws.ts; [ "$2" = aws ] || { file=deploy/on-call.ts; shift; }
shift 3; exec node --import ./commands/needs-node.js "$file" "$@"`,
  );
  await program("psql", `${noted()}\nPATH=\${PATH#*:} exec psql "$@"`);
  const arranged: Arranged = {};
  await mkdir(path.join(folder, "secrets"));
  const api = await fakeAws(folder, arranged, async () => await (await fetch(`${server}/invoke`)).text());
  const noteSession = noted(`\${AWS_SESSION_TOKEN:+ in a session}`);
  await program("npx", `${noteSession}\n[ -z "$LAMBDA" ] || curl -sS --fail-with-body "$LAMBDA/$2"`);
  const environment: Environment = {
    ...withoutSettings,
    AWS_ENDPOINT_URL: api,
    AWS_REGION: undefined,
    AWS_ACCESS_KEY_ID: "test",
    AWS_SECRET_ACCESS_KEY: "test",
    AWS_FOLDER: folder,
    LAMBDA: server,
    HOME: folder,
    PATH: `${bin}:${path.resolve("node_modules/.bin")}:${process.env.PATH}`,
    EDITOR: undefined,
    PGPASSWORD: undefined,
    STAGE: "another", // What a shell may have from elsewhere.
    ...more,
  };

  /** Starts a line as in a shell of the clone. Its process leads a group, as in a terminal. */
  const start = (line: string, input = "", more: Environment = {}) => {
    Object.assign(arranged, { stops: more.AWS_STOPS, refuses: more.AWS_REFUSES });
    const child = spawn("bash", ["-c", `exec 2>&1; ${line}`], {
      cwd: project,
      env: { ...process.env, ...environment, ...more },
      detached: true,
    });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    child.stdin.on("error", () => {}).end(input);
    const signal = (name: NodeJS.Signals) => {
      if (child.pid && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, name);
    };
    onTestFinished(() => signal("SIGKILL"));
    return { signal, ended: once(child, "close").then(() => ({ exitCode: child.exitCode, output })) };
  };
  const file = (name: string) => path.join(folder, name);
  const read = (name: string) => readFile(file(name), "utf8").catch(() => "");
  const secretFile = (id: string | symbol) => file(`secrets/${String(id).replaceAll("/", "_")}`);
  return {
    folder,
    project,
    start,
    /** Runs a line, and resolves to how it ended. */
    run: (...what: Parameters<typeof start>) => start(...what).ended,
    /** Fills in names as somebody does it in an editor, the whole block at once; with the output of `names`. */
    fillIn: async (names: Record<string, string>, more: Environment = {}, of = stage) => {
      await rm(path.join(project, "stages.yml"), { force: true });
      const block = Object.entries(names).map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`);
      await writeFile(file("block"), `${of}:\n${block.join("\n")}\n`);
      return start(`npm run aws -- names ${of}`, "", { EDITOR: `cp ${file("block")}`, ...more }).ended;
    },
    /** Makes the stand-in answer so. */
    answer: (name: string, text: string) => writeFile(file(name), text),
    /** What the programs were asked, a line each: lists of processes show these. */
    calls: () => read("calls"),
    /** What Secrets Manager has by now, by name. */
    secrets: new Proxy<Record<string, string>>(
      {},
      {
        has: (_, id) => existsSync(secretFile(id)),
        get: (_, id) => (existsSync(secretFile(id)) ? readFileSync(secretFile(id), "utf8") : undefined),
        set: (_, id, value) => {
          writeFileSync(secretFile(id), value);
          return true;
        },
      },
    ),
    stages: async () => {
      const text = await readFile(path.join(project, "stages.yml"), "utf8").catch(() => "");
      return (load(text) ?? {}) as Record<string, Record<string, string>>;
    },
    /** Resolves when the stand-in has stopped where AWS_STOPS says. */
    stopped: async () => {
      await vi.waitFor(() => existsSync(file("stopped")) || Promise.reject(new Error()), { timeout: 60_000 });
      await rm(file("stopped"));
    },
  };
}

/** Names that are complete, but for the database and the gateway. */
export const names = {
  admin: "master",
  reader: "veza_app",
  schema: "veza",
  alarmTopicArn: "arn:aws:sns:eu-central-1:210987654321:ledger-alarms",
  repository: "https://git.internal/veza/ledger/blob/main",
  grafana: "https://grafana.internal",
};
