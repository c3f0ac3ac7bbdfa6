// The names of a host. Their form has test/setup/names.test.ts, and ./setup test/docs/setup-names.test.ts.
import { chmod, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { generate } from "selfsigned";
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { readNamesOfHost, readNamesToLeave, variablesOf } from "../../../setup/host/names.ts";
import { makeCertificates } from "../../helpers/certificates.ts";
import { newFolder } from "../../helpers/temporary-folder.ts";

let folder = "";
let fine: Record<string, string> = {};
const write = async (name: string, text: string, mode = 0o644) => {
  const file = path.join(folder, name);
  await writeFile(file, text);
  await chmod(file, mode);
  return file;
};

beforeAll(async () => {
  folder = await newFolder();
  const { ca, cert, key } = await makeCertificates("DNS:push.veza.test");
  fine = {
    database: "db.internal:5432/ledger",
    ca,
    reader: "veza_app",
    admin: "Müller@server",
    gateway: "http://127.0.0.1:9091",
    prometheus: "http://127.0.0.1:9090",
    alertmanager: "http://127.0.0.1:9093",
    name: "push.veza.test",
    certificate: cert,
    key,
    repository: "https://git.internal/main",
    grafana: "https://grafana.internal",
  };
});
afterEach(() => void vi.unstubAllEnvs());

const yaml = (names: Record<string, string>) =>
  Object.entries(names)
    .map(([name, text]) => `${name}: '${text.replaceAll("'", "''")}'\n`)
    .join("");
const read = (names: Record<string, string>) => readNamesOfHost(yaml({ ...fine, ...names }));

it("has what the shell needs: each name, its default, and the addresses of each login", async () => {
  const { texts, problems } = await read({});
  expect(problems).toEqual([]);
  expect(variablesOf(texts)).toMatchObject({
    ...fine,
    schema: "public",
    timezone: "UTC",
    stage: "",
    port: "8080",
    sslmode: "verify-full",
    admin_url: "postgres://M%C3%BCller%40server@db.internal:5432/ledger",
    service_url: "postgres://veza_ledger@db.internal:5432/ledger",
  });
  expect(variablesOf((await read({ database: "localhost:5432/ledger" })).texts).sslmode).toBe("disable");
});

it("has the same defaults in the template as where a line is missing, and tells a line that is empty", async () => {
  const shipped = (await readNamesOfHost(await readFile("setup/host/names.yml", "utf8"))).texts;
  const { texts } = await readNamesOfHost("");
  const { schema, timezone, port } = texts;
  expect([schema, timezone, port]).toEqual(["public", "UTC", "8080"]);
  expect(shipped).toMatchObject({ ca: texts.ca, schema, timezone, port });
  expect((await read({ port: "" })).problems).toEqual([expect.stringMatching(/: port is empty: write a number/)]);
});

it("names in the template what has to be written, and nothing else", async () => {
  const shipped = await readFile("setup/host/names.yml", "utf8");
  const { problems } = await readNamesOfHost(shipped);
  const named = problems.map((problem) => / (\w+) is (still|empty)/.exec(problem)?.[1]).filter(Boolean);
  expect(named).toEqual(["database", "reader", "admin", "name", "repository", "grafana"]);
});

it.each([
  ["database", "postgres://db.internal:5432/ledger", /: database is of the wrong kind: write HOST:5432/],
  ["schema", "a, b", /: schema /],
  ["schema", "pg_catalog", /: schema /],
  ["timezone", "Mars/Olympus", /: timezone /],
  ["timezone", "+01", /: timezone /],
  ["stage", "drill", /: stage is drill/],
  ["stage", "a b", /: stage may only contain|: stage /],
  ["servers", "prometheus grafana", /: servers has "grafana"/],
  ["gateway", "http://push:9091/?x=1", /: gateway must not have a query/],
  ["gateway", "127.0.0.1:9091", /: gateway must be an http or https URL/],
  ["token", "two words", /: token must be printable/],
  ["certificate", "/etc/none.pem", /: certificate names no file/],
  ["certificate", "", /: key is for a certificate, which is empty/],
  ["key", "", /: certificate has no key/],
  ["port", "99999", /: port is of the wrong kind/],
  ["ca", "/etc/passwd", /: ca names a file without certificates/],
  ["ca", "/root/none.pem", /: ca names no file that can be read/],
  ["token", 'it\'s"so"', /: token has ' beside/],
])("tells that %s cannot be %j, and no other", async (name, text, problem) => {
  const { problems } = await read({ servers: "", [name]: text });
  expect(problems).toEqual([expect.stringMatching(problem)]);
});

it("tells a user and a token, before anything is installed", async () => {
  const { problems } = await read({ gateway: "http://user:s3cret@push", token: "t0ken" });
  expect(problems.join()).toMatch(/: gateway has a user, and token is set: write one of them$/);
});

it("tells a certificate that is not for the name, has expired, is none, or has another key", async () => {
  const problemsOf = async (names: Record<string, string>) => (await read(names)).problems.join("\n");
  expect(await problemsOf({ name: "other.veza.test" })).toMatch(/: certificate is not for other\.veza\.test/);
  const { private: key, cert } = await generate([{ name: "commonName", value: "push.veza.test" }], {
    notBeforeDate: new Date("2020-01-01"),
    notAfterDate: new Date("2020-02-01"),
  });
  const old = { certificate: await write("old.pem", cert), key: await write("old.key", key) };
  expect(await problemsOf(old)).toMatch(/: certificate has expired/);
  expect(await problemsOf({ certificate: fine.key ?? "" })).toMatch(/: certificate is no certificate in PEM/);
  expect(await problemsOf({ key: fine.certificate ?? "" })).toMatch(/: key is no key in PEM/);
  expect(await problemsOf({ key: old.key })).toMatch(/: key is not the key of/);
  expect(await problemsOf({ name: "localhost" })).toMatch(/: name is of the wrong kind/);
  expect(await problemsOf({ name: "" })).toMatch(/: certificate is for a name, which is empty/);
});

it("tells an authority that the service cannot read", async () => {
  const closed = await write("closed.pem", await readFile(fine.ca ?? "", "utf8"), 0o600);
  expect((await read({ ca: closed })).problems).toEqual([expect.stringContaining("run chmod a+r")]);
});

it("tells servers where there is no apt", async () => {
  vi.stubEnv("PATH", folder);
  expect((await read({ servers: "prometheus" })).problems).toEqual([expect.stringContaining("come by apt-get")]);
  await write("apt-get", "", 0o755);
  expect((await read({ servers: "prometheus" })).problems).toEqual([]);
});

it("needs database and administrator alone for the removal, whatever has become of the rest", () => {
  const names = { ...fine, certificate: "/gone", grafana: "", ca: "/gone", name: "ledger.example.com" };
  expect(readNamesToLeave(yaml(names)).problems).toEqual([]);
  expect(readNamesToLeave(yaml({ ...names, admin: "" })).problems).toHaveLength(1);
});
