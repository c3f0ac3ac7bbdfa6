import { expect, it } from "vitest";
import { kinds, matching } from "../../setup/kinds.ts";
import { readNames } from "../../setup/names.ts";

const { database, schema, timezone, admin, stage, gateway, token, grafana } = kinds;
const how = {
  file: "/etc/ledger.yml",
  kinds: { database, schema, timezone, admin, stage, gateway, token, grafana, port: matching("a number", /^\d+$/) },
  defaults: { schema: "public", timezone: "UTC" },
  needed: ["database", "schema", "timezone", "gateway"] as const,
};
const fine = { database: "db.internal:5432/ledger", gateway: "http://127.0.0.1:9091" };

const written = (names: Record<string, string>) =>
  Object.entries({ ...fine, ...names })
    .map(([name, text]) => `${name}: '${text.replaceAll("'", "''")}'\n`)
    .join("");

it("has each name's text, its default, or nothing", () => {
  const read = readNames(
    "database: db.internal:5432/ledger # near\ngateway: 'http://127.0.0.1:9091'\nport: 0123\n",
    how,
  );
  expect(read.problems).toEqual([]);
  expect(read.texts).toEqual({
    ...fine,
    port: "0123",
    schema: "public",
    timezone: "UTC",
    admin: "",
    stage: "",
    token: "",
    grafana: "",
  });
  expect(read.where("port")).toBe("/etc/ledger.yml:3: port");
  expect(read.where("grafana")).toBe("/etc/ledger.yml: grafana");
});

it("tells all that is wrong at once, with its line and without its value", () => {
  const yaml = `databse: secret:5432/ledger
gateway: ftp://user:secret@push
schema: ''
admin: master:secret
grafana: https://grafana.example.com
port: [secret]
stage: drill
stage: prod
`;
  const { problems } = readNames(yaml, how);
  expect(problems).toEqual([
    "/etc/ledger.yml: database is empty: write HOST:5432/DATABASE, without postgres:// and a login",
    "/etc/ledger.yml:1: databse is not known: is it database?",
    "/etc/ledger.yml:2: gateway must be an http or https URL",
    "/etc/ledger.yml:3: schema is empty: write one schema, such as public",
    "/etc/ledger.yml:4: admin is of the wrong kind: write the login alone, without its password",
    "/etc/ledger.yml:5: grafana is still an example: write its URL, with https:// or http://",
    "/etc/ledger.yml:6: port has to be one text: put it between single quotes",
    "/etc/ledger.yml:7: stage is drill, which docs/drill.md uses",
    "/etc/ledger.yml:8: stage is here twice: it is in line 7, too",
  ]);
});

it.each([
  ["a missing quote", "database: 'secret\ngateway: x\n", "/etc/ledger.yml:2: is where a quote"],
  [
    "Windows' ends of lines",
    `${written({})}port: secret\r\n`,
    "/etc/ledger.yml:3: port is of the wrong kind: write a number",
  ],
  [
    "another encoding",
    `${written({})}admin: M\uFFFDller\n`,
    "/etc/ledger.yml:3: admin has a character that is no UTF-8",
  ],
  ["a value of two lines", `${written({})}admin: "a\\nb"\n`, "/etc/ledger.yml:3: admin has a line break"],
])("has one true sentence for %s", (_, yaml, problem) => {
  expect(readNames(yaml, how).problems).toEqual([expect.stringContaining(problem)]);
});

it.each([
  { database: "[::1]:5432/ledger" },
  { database: "db.internal:5432/größe%20x?sslmode=require" },
  { gateway: "http://us%23er:p%40ss$@push/api/v1/import/prometheus" },
  { gateway: "https://push", token: "a$b#c%d" },
  { admin: "Müller@server" },
  { schema: "Größe$" },
  { timezone: "Europe/Paris" },
  { stage: "prod-1_b" },
  { grafana: "https://grafana.müller.internal/path/" },
])("takes %j", (names) => {
  expect(readNames(written(names), how).problems).toEqual([]);
});

it.each([
  [{ database: "postgres://db.internal:5432/ledger" }, "is of the wrong kind: write HOST"],
  [{ database: "me:secret@db.internal:5432/ledger" }, "is of the wrong kind: write HOST"],
  [{ database: "db.internal/ledger" }, "is of the wrong kind: write HOST"],
  [{ database: "db.internal:99999/ledger" }, "is of the wrong kind: write HOST"],
  [{ database: "a:5432,b:5432/ledger" }, "is of the wrong kind: write HOST"],
  [{ database: "db.internal:5432/ledger?sslmode=prefer" }, "sslmode must be one of"],
  [{ database: "db.internal:5432/ledger?options=x" }, "sslmode is the only parameter allowed"],
  [{ schema: "pg_catalog" }, "must be the name of one schema"],
  [{ schema: "a, b" }, "must be the name of one schema"],
  [{ timezone: "Mars/Olympus" }, "must be the name of a zone"],
  [{ timezone: "+01" }, "must be the name of a zone"],
  [{ gateway: "https://push?x=1" }, "must not have a query"],
  [{ gateway: "https://:secret@push" }, "has a password and no user"],
  [{ gateway: "https://user:secret@push", token: "secret" }, "gateway has a user, and token is set: write one of them"],
  [{ gateway: "https://push", token: "a b" }, "token must be printable ASCII"],
  [{ stage: "a/b" }, "may hold letters, digits, _ and - only"],
  [{ grafana: "grafana.internal" }, "is of the wrong kind: write its URL"],
  [{ grafana: "https://grafana.internal/'{{" }, "is of the wrong kind: write its URL"],
])("refuses %j", (names, says) => {
  const { problems } = readNames(written(names), how);
  expect(problems).toEqual([expect.stringContaining(says)]);
  expect(problems[0]).not.toContain("secret");
});
