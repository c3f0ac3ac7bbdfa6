import { afterAll } from "vitest";
import { setEnvironment } from "./environment.ts";

// What a file sets in the environment is gone at its end: the next file is run by the same process.
const before = { ...process.env };
afterAll(() =>
  setEnvironment({ ...Object.fromEntries(Object.keys(process.env).map((name) => [name, undefined])), ...before }),
);
