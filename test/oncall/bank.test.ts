import { expect, it } from "vitest";
import { done, failed, stageWith } from "../helpers/on-call.ts";
import { httpServer } from "../helpers/servers.ts";

it.each([
  ["payments", { status: "pending", error_code: "504" }, "unknown: 504"],
  ["refunds", { status: "failed", error_code: "card_declined" }, "failed"],
])("asks the bank about %s: %o is %s", async (what, answer, says) => {
  const asked: unknown[] = [];
  const bank = await httpServer(({ method, url, headers }, response) => {
    asked.push([method, url, headers["api-key"]]);
    if (url?.includes("id_2")) response.writeHead(404);
    response.end(JSON.stringify(answer));
  });
  const stage = stageWith({ HYPERSWITCH_URL: bank });
  for (const id of ["../refunds/x", "'a b'", "'id?x=1'"]) {
    expect(await failed(stage, `ask ${what} ${id}`)).toContain("Nobody was asked: this is no id.");
  }
  expect(await failed(stage, "ask orders id_1")).toContain("Nobody was asked: say ask payments, or ask refunds.");
  expect(await failed(stage, `ask ${what} id_1`, { secrets: ["oncall", ""] })).toContain("you gave no API key");
  const wrong = { secrets: ["oncall", "hunter2\u0001"] };
  expect(await failed(stage, `ask ${what} id_1`, wrong)).toMatch(/^Hyperswitch was not asked: what you typed has a ch/);
  expect(asked).toEqual([]);
  expect(await done(stage, `ask ${what} id_1`)).toBe(`${says}\n`);
  expect(await done(stage, `ask ${what}`, { answers: ["id_1"] })).toMatch(`: ${says}\n`);
  expect(asked).toEqual(Array(2).fill(["GET", `/${what}/id_1?force_sync=true`, "key"]));
  expect(await failed(stage, `ask ${what} id_2`)).toMatch(/answers 404.*\n.*404: the id is wrong/);
});
