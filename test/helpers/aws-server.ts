// Stands in for AWS' API. It keeps what it is given in `folder`, whose files also say what it answers. It refuses any
// call that it does not know, and leaves out signatures, rights, waiting and all checks of values.

import { once } from "node:events";
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";

type Input = Record<string, string>;

/** What a test arranges: calls that never end, and calls that are refused, by a part of their line. */
export interface Arranged {
  stops?: string | undefined;
  refuses?: string | undefined;
}

/** Starts it. Each call is a line of the file `calls`: service, operation and what it is about. */
export async function fakeAws(folder: string, arranged: Arranged, invoke: () => Promise<string>): Promise<string> {
  const file = (name: string) => path.join(folder, name);
  const answer = (name: string, other = "") =>
    existsSync(file(name)) ? readFileSync(file(name), "utf8").trim() || other : other;
  const secretFile = (id: string) => file(`secrets/${id.replaceAll("/", "_")}`);
  const missing = (code: string) => ({ error: code, status: 404 });

  const aboutDatabase = (kind: "Instance" | "Cluster", id: string) => {
    const isOn = answer("iam", "false");
    if (existsSync(file("turned-on"))) {
      writeFileSync(file("iam"), "true"); // From the second look on.
      rmSync(file("turned-on"));
    }
    const pending = Object.entries(JSON.parse(answer("pending", "{}")) ?? {});
    const values = pending.map(([name, value]) => `<${name}>${value}</${name}>`).join("");
    return `<DB${kind}s><DB${kind}>${id}<IAMDatabaseAuthenticationEnabled>${isOn}</IAMDatabaseAuthenticationEnabled>
      <PendingModifiedValues>${values}</PendingModifiedValues></DB${kind}></DB${kind}s>`;
  };
  const known: Record<string, (input: Input) => object | string | Promise<object>> = {
    "secretsmanager create-secret": ({ Name = "", SecretString = "" }) => {
      if (existsSync(secretFile(Name))) return missing("ResourceExistsException");
      writeFileSync(secretFile(Name), SecretString);
      return {};
    },
    "secretsmanager get-secret-value": ({ SecretId = "" }) =>
      existsSync(secretFile(SecretId))
        ? { SecretString: readFileSync(secretFile(SecretId), "utf8") }
        : missing("ResourceNotFoundException"),
    "secretsmanager put-secret-value": ({ SecretId = "", SecretString = "" }) => {
      writeFileSync(secretFile(SecretId), SecretString);
      return {};
    },
    "secretsmanager delete-secret": ({ SecretId = "" }) => {
      if (!existsSync(secretFile(SecretId))) return missing("ResourceNotFoundException");
      rmSync(secretFile(SecretId));
      return {};
    },
    "rds describe-db-instances": () => aboutDatabase("Instance", "<DbiResourceId>db-ABCDEFGHIJKL01234</DbiResourceId>"),
    "rds describe-db-clusters": () =>
      aboutDatabase("Cluster", "<DbClusterResourceId>cluster-ABCDEFGHIJKL01234</DbClusterResourceId>"),
    "rds modify-db-instance": () => {
      writeFileSync(file("turned-on"), "");
      return "";
    },
    "rds modify-db-cluster": () => {
      writeFileSync(file("turned-on"), "");
      return "";
    },
    "cloudformation describe-stacks": ({ StackName }) =>
      existsSync(file("stack"))
        ? `<Stacks><member><StackName>${StackName}</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime>
            <StackStatus>${answer("stack")}</StackStatus></member></Stacks>`
        : { error: "ValidationError", status: 400, message: `Stack with id ${StackName} does not exist` },
    "cloudformation get-template": () => {
      const facts = answer("facts", "None\tNone\tNone\tNONE").split("\t");
      const [subnet, topic, boundary, type] = facts.map((fact) => (fact === "None" ? undefined : fact));
      const SECRET_ID = answer("secretId") || undefined;
      const Resources = {
        SamplerLambdaFunction: {
          Properties: {
            ...(subnet && { VpcConfig: { SubnetIds: [subnet] } }),
            ...(SECRET_ID && { Environment: { Variables: { SECRET_ID } } }),
          },
        },
        SamplerSilentAlarm: { Properties: { AlarmActions: topic ? [topic] : [] } },
        SamplerRole: { Properties: { PermissionsBoundary: boundary } },
        ...(type && { ReceiverLambdaFunctionUrl: { Properties: { AuthType: type } } }),
      };
      return `<TemplateBody>${JSON.stringify({ Resources })}</TemplateBody>`;
    },
    "lambda get-account-settings": () => ({
      AccountLimit: { UnreservedConcurrentExecutions: Number(answer("limit", "1000")) },
    }),
    "lambda get-function-url-config": () => ({ FunctionUrl: answer("url") }),
    "lambda invoke": async () => ({
      body: answer("counts") || (await invoke()),
      headers: existsSync(file("failed")) ? { "x-amz-function-error": answer("failed") } : {},
    }),
    "sts get-caller-identity": () => "<Account>210987654321</Account>",
    "sts assume-role": () => `<Credentials><AccessKeyId>session</AccessKeyId><SecretAccessKey>test</SecretAccessKey>
      <SessionToken>token</SessionToken><Expiration>2126-01-01T00:00:00Z</Expiration></Credentials>`,
    "iam get-policy": () => (answer("isThere") ? "<Policy/>" : missing("NoSuchEntity")),
    "iam get-role": () =>
      answer("isThere")
        ? `<Role><AssumeRolePolicyDocument>${encodeURIComponent(answer("trust", "{}"))}</AssumeRolePolicyDocument></Role>`
        : missing("NoSuchEntity"),
    "iam list-policy-versions": () =>
      `<Versions>${[7, 3, 4, 5, 6]
        .map(
          (number) => `<member><VersionId>v${number}</VersionId><IsDefaultVersion>${number === 7}</IsDefaultVersion>
            <CreateDate>2026-01-0${number}T00:00:00Z</CreateDate></member>`,
        )
        .join("")}</Versions>`,
    ...Object.fromEntries(
      "create-policy create-policy-version delete-policy-version create-role update-assume-role-policy attach-role-policy"
        .split(" ")
        .map((name) => [`iam ${name}`, () => ""]),
    ),
  };

  const server = createServer(async (request, response) => {
    const { service, operation, input, isXml } = await read(request);
    const about = ["Name", "SecretId", "FunctionName", "StackName", "PolicyName", "PolicyArn", "PolicyDocument"];
    const more = ["AssumeRolePolicyDocument", "VersionId", "RoleArn", "TokenCode"];
    const words = [...about, ...more].flatMap((name) => (input[name] ? [`--${kebab(name)} ${input[name]}`] : []));
    const line = [service, operation, ...words].join(" ");
    appendFileSync(file("calls"), `${line}\n`);
    if (arranged.stops && line.includes(arranged.stops)) return void writeFileSync(file("stopped"), "");
    const isRefused = arranged.refuses && line.includes(arranged.refuses);
    const refused = { error: "AccessDenied", status: 403, message: "not authorized to perform this" };
    const call = known[`${service} ${operation}`] ?? (() => ({ error: `not known here: ${line}`, status: 400 }));
    const made: Record<string, unknown> | string = isRefused ? refused : ((await call(input)) as string);
    const {
      error,
      status = 200,
      message = "",
      body,
      headers,
    } = typeof made === "string" ? ({} as never) : (made as never);
    if (error && isXml) {
      response.writeHead(status);
      return response.end(
        `<ErrorResponse><Error><Code>${error}</Code><Message>${message}</Message></Error></ErrorResponse>`,
      );
    }
    if (error) return response.writeHead(status).end(JSON.stringify({ __type: error, message }));
    if (!isXml) return response.writeHead(200, headers ?? {}).end(body ?? JSON.stringify(made));
    const name = operation.replaceAll(/(^|-)(\w)/g, (_, _dash, letter: string) => letter.toUpperCase());
    const action = input.Action ?? name;
    response.end(`<${action}Response><${action}Result>${made}</${action}Result></${action}Response>`);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  server.unref(); // It may be for several tests.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const kebab = (name: string) => name.replaceAll(/(?<=[a-z])(?=[A-Z])|(?<=DB)(?=[A-Z])/g, "-").toLowerCase();

/** Which call it is, in the words of AWS' command line. */
async function read(request: IncomingMessage) {
  const body = await text(request);
  const target = String(request.headers["x-amz-target"] ?? "");
  const [, service = ""] = /\/\d{8}\/[^/]+\/([a-z-]+)\//.exec(request.headers.authorization ?? "") ?? [];
  if (target) return { service, operation: kebab(target.split(".")[1] ?? ""), input: JSON.parse(body) as Input };
  const [, FunctionName = "", what = ""] = /functions\/([^/]+)\/(\w+)/.exec(request.url ?? "") ?? [];
  if (service === "lambda") {
    const operation = { invocations: "invoke", url: "get-function-url-config" }[what] ?? "get-account-settings";
    return { service, operation, input: FunctionName ? { FunctionName } : ({} as Input) };
  }
  const input: Input = Object.fromEntries(new URLSearchParams(body));
  return { service, operation: kebab(input.Action ?? ""), input, isXml: true };
}
