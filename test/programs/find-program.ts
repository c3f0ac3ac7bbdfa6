import { findProgram, type ProgramName } from "../helpers/find-program.ts";

// Prints where each of these programs is, or why it could not be found.
const names = process.argv.slice(2) as ProgramName[];
for (const found of await Promise.allSettled(names.map(findProgram))) {
  console.log(found.status === "fulfilled" ? JSON.stringify(found.value) : found.reason.message);
}
