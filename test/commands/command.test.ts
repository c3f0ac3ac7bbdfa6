// What each command says to a call that it does not understand.
import { expect, it } from "vitest";
import { parsePort } from "../../commands/address.ts";
import { run as doctor } from "../../commands/doctor.ts";
import { run as send } from "../../commands/send.ts";
import { inProcess } from "../helpers/commands.ts";

const commands = { doctor, send };
type Name = keyof typeof commands;

it.each<[Name, string[], string]>([
  ["doctor", ["everything"], "not understood: everything"],
  ["doctor", ["--fast"], "Unknown option '--fast'"],
  ["doctor", ["--sql"], "these do not go together"],
  ["doctor", ["sampler", "--schema", "veza"], "these do not go together"],
  ["doctor", ["sampler", "--known", "time of orders"], "--known is for --strict"],
  ["doctor", ["sampler", "--strict", "--known", "time"], "--known: there is no look of this name: time"],
  ["send", [], "nothing to send"],
  ["send", ["action"], "not understood: action"],
  ["send", ["sweep", "long"], "not understood: sweep long"],
  ["send", ["sweep", ""], "not understood: sweep"],
  ["send", ["ping", "--file", "events.json"], "either --file or an event"],
  ["send", ["--file", "/nowhere/events.json"], "ENOENT: no such file or directory, open '/nowhere/events.json'"],
  ["send", ["ping", "--id", "two words"], "webhook-id: must be 1 to 256 printable ASCII characters without spaces"],
  // A password is not repeated, nor what is behind it.
  ["doctor", ["--postgres://owner:hunter2@host/ledger"], "…"],
  ["doctor", ["owner:hunter2@host"], "not understood: …"],
  ["send", ["postgres://owner:hunter2@host/ledger"], "not understood: …"],
])("npm run %s, called with %j, says why it does nothing, and how it is used", async (name, args, problem) => {
  const { exitCode, output } = await inProcess(commands[name], args, {});
  expect(exitCode).toBe(2);
  const [said = "", usage] = output.split(`\n\nusage: npm run ${name} `);
  expect(said).toContain(problem);
  expect(usage).toBeDefined();
  expect(output).not.toContain("hunter2");
});

it("reads a port, and no other text", () => {
  expect(["1", "65535"].map(parsePort)).toEqual([1, 65_535]);
  for (const text of ["", "0", "65536", "80.5", "notaport", "0x50"]) {
    expect(() => parsePort(text)).toThrow("PORT must be a number from 1 to 65535");
  }
});
