// Every command of people on call ends where a server accepts a connection and then says nothing, also on their Node.
import { expect, it } from "vitest";
import { usual } from "../helpers/on-call.ts";
import { fileWith, runFile } from "../helpers/on-call-file.ts";
import { tcpServer } from "../helpers/servers.ts";

/** By command: the address of the server that it asks, and what it says of it. */
const commands: [command: string, address: string, says: RegExp][] = [
  ["firing", "PROMETHEUS_URL", /Prometheus does not answer at 127.*nothing came within 10 s/],
  ["silences", "ALERTMANAGER_URL", /Alertmanager does not answer at 127.*nothing came within 10 s/],
  ["gateway", "PUSHGATEWAY_URL", /The gateway does not answer at 127.*nothing came within 10 s/],
  ["ask payments id_1", "HYPERSWITCH_URL", /Hyperswitch does not answer at 127.*nothing came within 60 s/],
  ["rows stuck_orders", "DATABASE_URL", /Postgres is away, or does not let you in/],
  ["why_silent", "every", /NONE OF THE SERVERS ANSWERS YOU/],
];

it("says so of Prometheus, Alertmanager, the gateway, Hyperswitch and Postgres, and ends", {
  timeout: 150_000,
}, async () => {
  const port = await tcpServer(() => {});
  const mute = (name: string) =>
    name === "DATABASE_URL" ? `postgres://veza_ledger_oncall@127.0.0.1:${port}/x` : `http://127.0.0.1:${port}`;
  const all = ["PROMETHEUS_URL", "ALERTMANAGER_URL", "PUSHGATEWAY_URL", "HYPERSWITCH_URL", "DATABASE_URL"];
  const outputs = await Promise.all(
    commands.map(async ([command, address]) => {
      const names = address === "every" ? all : [address];
      const file = await fileWith({ ...usual, ...Object.fromEntries(names.map((name) => [name, mute(name)])) });
      return { command, ...(await runFile(file, command)) };
    }),
  );
  for (const [index, { command, exitCode, output }] of outputs.entries()) {
    expect(exitCode, `${command} does not end`).not.toBeNull();
    expect(output, command).toMatch(commands[index]?.[2] ?? /never/);
  }
});
