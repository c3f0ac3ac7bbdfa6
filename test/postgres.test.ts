import { expect, it } from "vitest";
import { runScript } from "./helpers/processes.ts";

it("leaves the exit code of the process alone", async () => {
  const program = runScript("test/helpers/exit-code.ts", []);
  await program.exited;
  expect(program.child.exitCode).toBe(3);
});
