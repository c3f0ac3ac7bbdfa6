import { expect, it } from "vitest";
import { inSql, inWords, minutesIn } from "../../lib/counts/interval.ts";

it.each([
  ["5 minutes", 5, "interval '5 minutes'"],
  ["1 hour", 60, "interval '1 hours'"],
  ["2 hours 10 minutes", 130, "interval '130 minutes'"],
  ["1 day", 1_440, "interval '24 hours'"],
  ["2 days 1 minute", 2_881, "interval '2881 minutes'"],
])("says %s as people do, and to Postgres without days, which summer time makes longer", (words, minutes, sql) => {
  expect([minutesIn(words), inWords(minutes), inSql(words)]).toEqual([minutes, words, sql]);
});

it("is 0 without an interval, and takes no other words", () => {
  expect([minutesIn(), inWords(0), inSql()]).toEqual([0, "0 minutes", "interval '0 minutes'"]);
  for (const words of ["", "soon", "2 weeks", "1.5 hours", "-5 minutes", "5 minutes ago"]) {
    expect(() => minutesIn(words)).toThrow(`not understood: ${words}`);
  }
});
