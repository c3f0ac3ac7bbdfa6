import { findProgram, type ProgramName } from "../helpers/find-program.ts";

// Prints where a program is, or why it could not be found.
try {
  console.log(JSON.stringify(await findProgram(process.argv[2] as ProgramName)));
} catch (error) {
  console.log((error as Error).message);
}
