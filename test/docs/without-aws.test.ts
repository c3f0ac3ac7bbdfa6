// docs/without-aws.md, as it is pasted, up to true numbers and a delivery. Left out is what needs a service manager:
// apt-get, systemctl, nginx and Prometheus; and the clone, for which a copy stands.
import { readFile } from "node:fs/promises";
import path from "node:path";
import postgres from "postgres";
import { expect, inject, it, onTestFinished } from "vitest";
import { tables } from "../../commands/rights.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks } from "../../lib/checks.ts";
import { freePort } from "../../local/ports.ts";
import { startPostgres } from "../../local/postgres.ts";
import { copyProject } from "../helpers/copy.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { insertRows } from "../helpers/models.ts";
import { needs } from "../helpers/needs.ts";
import { blocksOf } from "../helpers/pages.ts";
import { runProgram } from "../helpers/processes.ts";

const title = "leads to true numbers and a counted delivery, by the command of the unit";
it(title, await needs("openssl"), async () => {
  const blocks = await blocksOf("docs/without-aws.md", "sh");
  const folder = await copyProject();
  const server = await startPostgres(0);
  onTestFinished(() => server.stop());
  await runSqlFiles(server.superuserUrl, ["local/ledger.sql"]);
  const sql = postgres(server.superuserUrl, { max: 1 });
  for (const check of checks) await sql.unsafe(insertRows(check, 4));
  await sql.unsafe("create role veza_app login password 'veza_app'");
  await sql.unsafe(`grant select on ${tables.join(", ")} to veza_app`);
  await sql.end();
  const port = await freePort();
  const withSettings = "set -a; . /etc/veza-ledger-metrics.env;";
  const here = (text: string) =>
    [
      ["master@HOST:5432/DATABASE", `postgres@127.0.0.1:${server.port}/postgres`],
      ["read -rs PGPASSWORD; export PGPASSWORD;", "export PGPASSWORD=veza_app;"],
      ["HOST:5432/DATABASE", `127.0.0.1:${server.port}/postgres`],
      ["psql -v", "PGPASSWORD=postgres psql -v"],
      ["/etc/veza-ledger-metrics.env", path.join(folder, "settings.env")],
      ["/opt/veza-ledger-metrics", folder],
      ["http://127.0.0.1:9091", inject("pushgatewayUrl")],
      ["https://$name/", `http://127.0.0.1:${port}/`],
    ].reduce(
      (before, [from = "", to = ""]) => before.replaceAll(from, to),
      text.replace(/systemd-run .*\n/, withSettings),
    );
  const start = (command: string, settings = {}) =>
    runProgram("bash", ["-c", here(command)], { ...withoutSettings, CI: undefined, ...settings });
  /** Runs the lines of the block with this text, from the first that matches. Resolves to what they print. */
  const paste = async (text: string, from = /^/) => {
    const block = blocks.find((each) => each.includes(text)) ?? "false";
    const { exitCode, output } = await start(`cd '${folder}' && ${block.slice(block.search(from))}`).exited;
    return { exitCode, output };
  };

  const look = await paste("doctor -- postgres:");
  expect(look.output).toMatch(/^[!✓] stuck_orders +4, /m);
  expect(await paste("roles.sql")).toMatchObject({ exitCode: 0 });
  const all = await paste("commands/doctor.ts");
  expect([all.exitCode, all.output.match(/✗.*/g)]).toEqual([0, null]);

  const unit = await readFile("config/systemd/veza-ledger-metrics.service", "utf8");
  const [, command = ""] = /^ExecStart=(.*)/m.exec(unit) ?? [];
  const service = start(`cd '${folder}'; ${withSettings} exec ${command}`, { PORT: String(port) });
  await service.printed(/"message":"tick","stuck_orders":4/);
  expect(await paste("npm run send -- ping", /^\(set -a/m)).toMatchObject({
    exitCode: 0,
    output: expect.stringContaining("Recorded. It is on the gateway."),
  });
  service.child.kill("SIGTERM");
  expect((await service.exited).exitCode).toBe(0);
});
