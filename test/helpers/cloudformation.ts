import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { httpServer } from "./servers.ts";

/** A call of AWS' API: the right that it needs, and on what. */
export interface Call {
  action: string;
  resource: string;
}

/**
 * Stands in for CloudFormation, S3, Lambda and STS on 127.0.0.1, while Serverless deploys a stack that is not there
 * yet. Resolves to its URL, and to what it was asked. It makes nothing, and leaves out the calls of CloudFormation.
 */
export async function fakeCloudFormation(account: string): Promise<{ url: string; calls: Call[] }> {
  const calls: Call[] = [];
  let updates = 0;
  const url = await httpServer(async (request, response) => {
    const body = await text(request);
    const [, region = "", service = ""] =
      /Credential=[^/]+\/\d+\/([^/]+)\/([^/]+)/.exec(request.headers.authorization ?? "") ?? [];
    response.setHeader("content-type", "text/xml");
    if (service === "s3") {
      calls.push(callOfS3(request));
      response.setHeader("etag", '"1"');
      response.end("<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>");
      return;
    }
    if (service === "lambda") {
      const [, name] = /\/functions\/([^/]+)/.exec(request.url ?? "") ?? [];
      calls.push({ action: "lambda:GetFunction", resource: `arn:aws:lambda:${region}:${account}:function:${name}` });
      response.setHeader("content-type", "application/json").end("{}");
      return;
    }
    const parameters = new URLSearchParams(body);
    const action = parameters.get("Action") ?? "";
    const named = parameters.get("StackName") ?? ""; // By its name, or by its ARN.
    const stack = named.split("/")[1] ?? named;
    const arn = `arn:aws:cloudformation:${region}:${account}:stack/${stack}/1`;
    if (service === "cloudformation") calls.push({ action: `${service}:${action}`, resource: stack ? arn : "*" });
    if (action === "DescribeStacks" && updates === 0) {
      const message = `Stack with id ${stack} does not exist`;
      response.writeHead(400);
      response.end(
        `<ErrorResponse><Error><Code>ValidationError</Code><Message>${message}</Message></Error></ErrorResponse>`,
      );
      return;
    }
    if (action === "ExecuteChangeSet") updates += 1;
    const status = `${updates > 1 ? "UPDATE" : "CREATE"}_COMPLETE`;
    const answers: Record<string, string> = {
      GetCallerIdentity: `<Account>${account}</Account><Arn>arn:aws:iam::${account}:user/deployer</Arn>`,
      CreateChangeSet: `<Id>change</Id><StackId>${arn}</StackId>`,
      DescribeChangeSet: `<Status>CREATE_COMPLETE</Status><ExecutionStatus>AVAILABLE</ExecutionStatus>
        <StackId>${arn}</StackId>`,
      DescribeStacks: `<Stacks><member><StackName>${stack}</StackName>
        <StackStatus>${status}</StackStatus></member></Stacks>`,
      DescribeStackResource: `<StackResourceDetail>
        <PhysicalResourceId>${stack}-bucket</PhysicalResourceId></StackResourceDetail>`,
      DescribeStackEvents: `<StackEvents><member><EventId>${updates}</EventId><StackName>${stack}</StackName>
        <LogicalResourceId>${stack}</LogicalResourceId><PhysicalResourceId>${arn}</PhysicalResourceId>
        <ResourceType>AWS::CloudFormation::Stack</ResourceType><ResourceStatus>${status}</ResourceStatus>
        <Timestamp>${new Date(Date.now() + 1000).toISOString()}</Timestamp></member></StackEvents>`,
    };
    const result = `<${action}Result>${answers[action] ?? ""}</${action}Result>`;
    response.end(`<${action}Response>${result}</${action}Response>`);
  });
  return { url, calls };
}

function callOfS3({ method, url = "" }: IncomingMessage): Call {
  const [, bucket = "", key = ""] = /^\/([^/]+)\/([^?]*)/.exec(url) ?? [];
  // HEAD of a bucket asks for the right to list it.
  if (!key) return { action: "s3:ListBucket", resource: `arn:aws:s3:::${bucket}` };
  return { action: method === "PUT" ? "s3:PutObject" : "s3:GetObject", resource: `arn:aws:s3:::${bucket}/${key}` };
}
