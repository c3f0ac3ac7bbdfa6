import { inject } from "vitest";
import { runScript } from "./processes.ts";
import { newSecret } from "./receiver.ts";

/** Runs the doctor; its lines without the remedies, which start with an arrow, and these by themselves. */
export async function doctor(role: string[], settings: Record<string, string | undefined>) {
  const program = runScript("commands/doctor.ts", role, {
    DATABASE_URL: undefined,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: newSecret(),
    SECRET_ID: undefined,
    STAGE: "doctor",
    ...settings,
  });
  await program.exited;
  const lines = program.output().trim().split("\n");
  const isRemedy = (line: string) => line.trim().startsWith("→");
  return {
    exitCode: program.child.exitCode,
    lines: lines.filter((line) => !isRemedy(line)).map((line) => line.replaceAll(/ {2,}/g, " ")),
    ill: lines.filter((line) => /^[!✗]/.test(line)).map((line) => line.replaceAll(/ {2,}/g, " ")),
    remedies: lines.filter(isRemedy).map((line) => line.trim().slice(2)),
  };
}
