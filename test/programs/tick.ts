import type { Context } from "aws-lambda";
import { handler } from "../../handlers/sampler.ts";
import { startStopwatch } from "../helpers/stopwatch.ts";

// One tick in a process of its own: prints the counts, or why they could not be pushed, and how long that took.
const stopwatch = startStopwatch();
try {
  console.log(`counts ${JSON.stringify(await handler({}, {} as Context, () => {}))}`);
} catch (error) {
  console.log(`failed: ${(error as Error).message}`);
}
console.log(`took ${Math.round(stopwatch())} ms`);
