import { expect, it } from "vitest";
import { linesIn, reasonsOf } from "../../commands/oncall/log.ts";
import { done, failed, stageWith } from "../helpers/on-call.ts";
import { newHost } from "../helpers/on-call-host.ts";

it("counts the reasons of a log, of the journal and of Lambda", () => {
  const failure = { level: "error", message: "check failed", check: "stuck_orders", reason: "no column" };
  const { level, ...message } = failure;
  const lines = linesIn(
    [
      `2026-01-31T12:00:00+0000 veza-ledger-metrics[1]: ${JSON.stringify(failure)}`,
      `2026-01-31T12:00:00 ${JSON.stringify({ timestamp: "x", level, message })}`,
      "-- Boot 1 --",
    ].join("\n"),
  );
  expect(lines.map(({ time, text }) => [time, text])).toEqual([
    ["2026-01-31T12:00:00+0000", 'check failed {"check":"stuck_orders","reason":"no column"}'],
    ["2026-01-31T12:00:00", 'check failed {"check":"stuck_orders","reason":"no column"}'],
    ["", "-- Boot 1 --"],
  ]);
  const away = { check: "x", code: "ECONNREFUSED", reason: "refused" };
  expect(reasonsOf([...lines.slice(0, 2).map(({ fields }) => fields), away])).toEqual([
    "1 times, of x: ECONNREFUSED refused",
    "2 times, of stuck_orders: no code no column",
    "THE SAMPLER DOES NOT REACH POSTGRES. Call the platform engineer now.",
  ]);
});

const tick = { level: "info", message: "tick", stuck_orders: 1 };
const failure = { level: "error", message: "check failed", check: "stuck_orders", code: "42703", reason: "no column" };
const line = 'check failed {"check":"stuck_orders","code":"42703","reason":"no column"}\n';

it("prints the log of the host with its times", async () => {
  const host = await newHost();
  const stage = stageWith({});
  const run = (command: string) => done(stage, command, host);
  const fail = (command: string) => failed(stage, command, host);
  await host.set([tick, failure, failure]);
  expect(await run("logs sampler 15m")).toMatch(/^20\S+ tick \{"stuck_orders":1\}\n20\S+ check failed \{/);
  const found = await run("logs sampler 15m 'check failed'");
  expect(found.replaceAll(/^20\S+ /gm, "")).toBe(line + line);
  expect(await run("why_failing")).toBe("2 times, of stuck_orders: 42703 no column\n");
  await host.set([{ ...failure, code: "CONNECT_TIMEOUT" }]);
  expect(await run("why_failing")).toMatch(/CONNECT_TIMEOUT.*\nTHE SAMPLER DOES NOT REACH POSTGRES/);
  expect(await fail("logs receiver 15m nothing")).toBe("Nothing in the log of the last 15m has: nothing\n");
  for (const command of ["logs", "logs sampler", "logs gateway 15m", "logs sampler 15"]) {
    expect(await fail(command), command).toContain("Say of which function, and how far back");
  }
  await host.set([tick], "unknown");
  expect(await fail("logs sampler 15m")).toContain("on the host of the service, and this is another one");
});

it("prints the log of Lambda, by the AWS CLI", async () => {
  const host = await newHost();
  const stage = stageWith({ AWS_REGION: "eu-central-1" });
  const { level: _, ...ofLambda } = failure;
  const shown = { timestamp: "2026-01-31T12:00:00Z", level: "ERROR", message: ofLambda };
  const asked = "logs tail /aws/lambda/veza-ledger-metrics-prod-sampler --since 15m --format short";
  await host.add(
    "aws",
    `#!/bin/sh\n[ "$AWS_REGION $*" = 'eu-central-1 ${asked}' ] && echo '2026-01-31T12:00:00 ${JSON.stringify(shown)}'\n`,
  );
  expect(await done(stage, "logs sampler 15m", host)).toBe(`2026-01-31T12:00:00 ${line}`);
  await host.add("aws", "#!/bin/sh\nexit 255\n");
  expect(await failed(stage, "logs sampler 15m", host)).toContain("Log in to AWS again");
});
