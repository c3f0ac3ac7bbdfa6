import { writeFileSync } from "node:fs";
import { startStopwatch } from "../helpers/stopwatch.ts";

// Loaded before a program: at its end, it writes into this file how many ms the program waited and worked.
const file = process.env.STOPWATCH ?? "";
const stopwatch = startStopwatch();
process.on("exit", () => writeFileSync(file, String(stopwatch())));
