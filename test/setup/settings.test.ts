import { expect, it } from "vitest";
import { parseSettings } from "../../lib/settings/parse.ts";
import { databaseUrl } from "../../setup/kinds.ts";
import { newPassword, newWebhookSecret, passwordOfUrl, settingsFrom, shown } from "../../setup/settings.ts";

const names = {
  database: "db.internal:5432/größe%20x",
  schema: "public",
  timezone: "UTC",
  gateway: "https://us%23er:p%40ss@push",
  token: "",
  stage: "prod",
};

it("makes settings that the functions take, with passwords and logins of any characters", () => {
  const kept = { login: "Müller@server", password: "a#b%c ü'\"", webhookSecret: newWebhookSecret() };
  const { database, pushgateway, stage } = parseSettings(settingsFrom(names, kept), "receiver");
  expect(database).toMatchObject({ username: kept.login, password: kept.password, database: "größe x" });
  expect(pushgateway.headers?.authorization).toBe(`Basic ${Buffer.from("us#er:p@ss").toString("base64")}`);
  expect(stage).toBe("prod");
});

it("leaves out what is empty", () => {
  const settings = settingsFrom({ ...names, stage: "" }, { login: "a", password: newPassword(), webhookSecret: "" });
  expect(Object.keys(settings)).toEqual(["DATABASE_URL", "LEDGER_SCHEMA", "LEDGER_TIMEZONE", "PUSHGATEWAY_URL"]);
});

it("reads a password as the functions do, and none where the URL has none", () => {
  process.env.PGPASSWORD = "of-another";
  try {
    expect(passwordOfUrl("postgres://a:new%23pass@db:5432/ledger")).toBe("new#pass");
    expect(passwordOfUrl(databaseUrl("db:5432/ledger", "a"))).toBe("");
  } finally {
    delete process.env.PGPASSWORD;
  }
});

it("shows no password", () => {
  expect(shown("DATABASE_URL", "postgres://a:secret@db:5432/x")).toBe("postgres://db:5432/x");
  expect(shown("PUSHGATEWAY_TOKEN", "secret")).toBe("…");
  expect(shown("STAGE")).toBe("empty");
});
