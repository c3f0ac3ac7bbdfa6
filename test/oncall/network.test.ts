import { expect, it } from "vitest";
import { isUnverified, proxyAdvice, useProxies } from "../../commands/oncall/network.ts";

it("knows where a certificate cannot be verified: in Postgres' error, and in fetch's cause", () => {
  const error = Object.assign(new Error("unable to verify the first certificate"), {
    code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  });
  expect(isUnverified(error)).toBe(true);
  expect(isUnverified(new TypeError("fetch failed", { cause: error }))).toBe(true);
  expect(isUnverified(Object.assign(new Error(""), { code: "ECONNREFUSED" }))).toBe(false);
});

it("says what to do where there is a proxy, and this Node goes by none", () => {
  expect(proxyAdvice({})).toEqual([]);
  expect(proxyAdvice({ HTTPS_PROXY: "http://proxy:3128" })).toEqual([
    expect.stringContaining(`Node ${process.versions.node} does not use it`),
  ]);
  const withoutScheme = { HTTPS_PROXY: "proxy:3128" };
  useProxies(withoutScheme); // No test may go by a proxy.
  expect(proxyAdvice(withoutScheme)).toEqual([expect.stringContaining("has to be a URL")]);
});
