import { parseEnv } from "node:util";
import { expect, it } from "vitest";
import { parseSettings } from "../../../lib/settings/parse.ts";
import { isQuotable, linesOf, passwordOf, settingsIn, settingsOf } from "../../../setup/host/settings.ts";

const names = {
  database: "db.internal:5432/ledger",
  schema: "public",
  timezone: "UTC",
  gateway: "http://us%23er:p%27ss@push",
  token: "",
  stage: "prod",
  ca: "/etc/ssl/own.pem",
  port: "8098",
};

it("makes settings with a new password and secret, which the service takes", () => {
  const { settings } = settingsOf(names, {});
  const { database, stage } = parseSettings(settingsIn(linesOf(settings)), "receiver");
  expect(database).toMatchObject({ username: "veza_ledger", password: expect.stringMatching(/^\w{48}$/) });
  expect(stage).toBe("prod");
  expect(settings).toMatchObject({ NODE_EXTRA_CA_CERTS: "/etc/ssl/own.pem", PORT: "8098" });
  expect(settingsOf(names, {}).settings.DATABASE_URL).not.toBe(settings.DATABASE_URL);
});

it("keeps a password as somebody has encoded it, the secret, and what the names know nothing of", () => {
  const kept = {
    ...settingsOf(names, {}).settings,
    DATABASE_URL: "postgres://veza_ledger:n%65w%23pass@db.internal:5432/ledger",
    HOST: "127.0.0.1",
  };
  expect(settingsOf(names, kept)).toEqual({ settings: kept, changes: [] });
  expect(passwordOf(kept)).toBe("new#pass");
  const { settings } = settingsOf({ ...names, database: "db2.internal:5432/ledger" }, kept);
  expect(settings.DATABASE_URL).toBe("postgres://veza_ledger:new%23pass@db2.internal:5432/ledger");
});

it("takes what the names have, and says what changes without a password or secret", () => {
  const { settings: kept } = settingsOf({ ...names, token: "" }, {});
  const { settings, changes } = settingsOf(
    { ...names, database: "db2:5432/x", gateway: "http://push2", token: "t0ken", stage: "", port: "" },
    kept,
  );
  expect(changes).toEqual([
    "DATABASE_URL: postgres://db.internal:5432/ledger → postgres://db2:5432/x",
    "PUSHGATEWAY_URL: http://push → http://push2",
    "PUSHGATEWAY_TOKEN: empty → …",
    "STAGE: prod → empty",
    "PORT: 8098 → empty",
  ]);
  expect(linesOf(settings)).not.toMatch(/^(STAGE|PORT)=/m);
});

it.each(["a", "p$w#x%23ü&*! `id`", "it's", 'say "so"', "C:\\x", " a ", "a=b"])(
  "stores %j so that it is read",
  (text) => {
    expect(isQuotable(text)).toBe(true);
    expect(parseEnv(linesOf({ TEXT: text }))).toEqual({ TEXT: text });
  },
);

it("refuses what no file of settings can have, and a login that is not the service's", () => {
  expect(isQuotable('it\'s "so"')).toBe(false);
  for (const url of ["postgres://postgres:x@db:5432/ledger", "postgres://veza_ledger@db:5432/ledger", "ledger", ""]) {
    expect(() => passwordOf({ DATABASE_URL: url })).toThrow(/DATABASE_URL in \S+ has to be postgres:\/\/veza_ledger:/);
  }
  const { settings } = settingsOf(names, {});
  expect(() => settingsOf(names, { ...settings, WEBHOOK_SECRET: "s3cret" })).toThrow(/WEBHOOK_SECRET must be whsec_/);
});
