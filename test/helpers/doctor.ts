import { randomUUID } from "node:crypto";
import { inject } from "vitest";
import { askBriefly } from "../../commands/doctor/postgres.ts";
import type { LedgerScene } from "../../commands/doctor/scene.ts";
import { run } from "../../commands/doctor.ts";
import { checks } from "../../lib/counts/checks.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { inProcess } from "./commands.ts";
import { insertRows, providerIds } from "./models.ts";
import { newSecret } from "./receiver.ts";

/**
 * Findings as they are printed: each in one line, with the steps of its remedy. Leaves out what was expected, and the
 * semicolon that ends the SQL of a step. Throws where it is missing: psql would run nothing, and not say so. Leaves out
 * the last line, which sums up.
 */
export function findingsIn(output: string) {
  const withoutSemicolon = (step: string) => {
    if (!/^as [^:]+: /.test(step)) return step;
    if (!step.endsWith(";")) throw new Error(`psql would not run this: ${step}`);
    return step.slice(0, -1);
  };
  const findings: { line: string; steps: string[] }[] = [];
  const found = output.replace(/\n(Nothing is wrong|Wrong: ).*\n?$/, "");
  for (const line of found.replaceAll(/\n {31}expected: .*(\n {31}.*)*/g, "").split("\n")) {
    const last = findings.at(-1);
    if (line.startsWith("  → ")) last?.steps.push(withoutSemicolon(line.slice(4)));
    else if (last && / {31}/.test(line)) last.line += ` ${line.trim()}`;
    else findings.push({ line: line.replaceAll(/ {2,}/g, " "), steps: [] });
  }
  return findings;
}

/** The same as a text: the steps of a remedy are in one line. */
export const inLines = (output: string): string =>
  findingsIn(output)
    .map(({ line, steps }) => line + (steps.length > 0 ? `\n  → ${steps.join("; ")}` : ""))
    .join("\n");

/** Of the calling file alone: the doctor pushes a trial to its stage, and takes it back. */
const stage = `doctor-${randomUUID()}`;

/** The doctor's settings, on this database. */
export const doctorSettings = (databaseUrl: string | undefined): Record<string, string | undefined> => ({
  DATABASE_URL: databaseUrl,
  PUSHGATEWAY_URL: inject("pushgatewayUrl"),
  WEBHOOK_SECRET: newSecret(),
  SECRET_ID: undefined,
  STAGE: stage,
});

/** Runs the doctor. The remedies have one line for each finding with a remedy. */
export async function doctor(role: string[], settings: Record<string, string | undefined>) {
  const { exitCode, output } = await inProcess(run, role, { ...doctorSettings(undefined), ...settings });
  const findings = findingsIn(output);
  const lines = findings.map(({ line }) => line);
  const ill = findings.filter(({ line }) => /^[!✗]/.test(line));
  const remedies = ill.filter(({ steps }) => steps.length > 0).map(({ steps }) => steps.join("; "));
  return {
    exitCode,
    summary: output.split("\n").at(-1),
    lines,
    ill: ill.map(({ line }) => line),
    remedies,
    findings,
  };
}

/** What the sampler's doctor tells a look at the ledger, on this connection. */
export function sceneOf(database: Database): LedgerScene {
  return {
    functions: { sampler: true, receiver: false },
    settled: [],
    database,
    login: "veza_ledger_sampler",
    ask: askBriefly(database, deadlineFor("test", 200_000)),
  };
}

const settled: Record<string, string> = { orders: "paid", refunds: "succeeded" };
const settledRows = Object.entries(providerIds).map(([table, providerId]) => {
  const status = settled[table] ?? "completed";
  return providerId
    ? `insert into ${table} (status, ${providerId}) values ('${status}', 'id');`
    : `insert into ${table} (status) values ('${status}');`;
});

/** SQL: rows of every kind. Each check counts one, or two where a row that was just written counts. */
export const rowsOfEveryKind = `
  ${settledRows.join("")}
  ${checks.map((check) => insertRows(check, 1) + insertRows(check, 1, { age: "0 seconds" })).join("")}`;
