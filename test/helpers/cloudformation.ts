import { text } from "node:stream/consumers";
import { httpServer } from "./servers.ts";

/** A call of AWS' API: the right that it needs, and on what. */
interface Call {
  action: string;
  resource: string;
}

/**
 * Stands in for CloudFormation, S3, Lambda and STS on 127.0.0.1, while Serverless deploys to a stack that is there.
 * Resolves to its URL, and to what it was asked. It makes nothing, and leaves out the calls of CloudFormation.
 */
export async function fakeCloudFormation(account: string): Promise<{ url: string; calls: Call[] }> {
  const calls: Call[] = [];
  const url = await httpServer(async (request, response) => {
    const parameters = new URLSearchParams(await text(request));
    const { method, headers, url: target = "" } = request;
    const [, region, service] = /Credential=[^/]+\/\d+\/([^/]+)\/([^/]+)/.exec(headers.authorization ?? "") ?? [];
    if (service === "s3") {
      const [, bucket, key] = /^\/([^/]+)\/([^?]*)/.exec(target) ?? [];
      const resource = `arn:aws:s3:::${bucket}`;
      // HEAD of a bucket asks for the right to list it.
      if (!key) calls.push({ action: "s3:ListBucket", resource });
      else calls.push({ action: method === "PUT" ? "s3:PutObject" : "s3:GetObject", resource: `${resource}/${key}` });
      response.setHeader("etag", '"1"').end("<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>");
      return;
    }
    if (service === "lambda") {
      const [, name] = /\/functions\/([^/]+)/.exec(target) ?? [];
      calls.push({ action: "lambda:GetFunction", resource: `arn:aws:lambda:${region}:${account}:function:${name}` });
      response.end("{}");
      return;
    }
    const action = parameters.get("Action") ?? "";
    const named = parameters.get("StackName") ?? ""; // By its name, or by its ARN.
    const stack = named.split("/")[1] ?? named;
    const arn = `arn:aws:cloudformation:${region}:${account}:stack/${stack}/1`;
    if (service === "cloudformation") calls.push({ action: `${service}:${action}`, resource: stack ? arn : "*" });
    const answers: Record<string, string> = {
      GetCallerIdentity: `<Account>${account}</Account><Arn>arn:aws:iam::${account}:user/deployer</Arn>`,
      CreateChangeSet: `<Id>change</Id><StackId>${arn}</StackId>`,
      DescribeChangeSet: `<Status>CREATE_COMPLETE</Status><ExecutionStatus>AVAILABLE</ExecutionStatus>
        <StackId>${arn}</StackId>`,
      DescribeStacks: `<Stacks><member><StackName>${stack}</StackName>
        <StackStatus>UPDATE_COMPLETE</StackStatus></member></Stacks>`,
      DescribeStackResource: `<StackResourceDetail>
        <PhysicalResourceId>${stack}-bucket</PhysicalResourceId></StackResourceDetail>`,
      DescribeStackEvents: `<StackEvents><member><EventId>1</EventId><StackName>${stack}</StackName>
        <LogicalResourceId>${stack}</LogicalResourceId><PhysicalResourceId>${arn}</PhysicalResourceId>
        <ResourceType>AWS::CloudFormation::Stack</ResourceType><ResourceStatus>UPDATE_COMPLETE</ResourceStatus>
        <Timestamp>${new Date(Date.now() + 1000).toISOString()}</Timestamp></member></StackEvents>`,
    };
    const result = `<${action}Result>${answers[action] ?? ""}</${action}Result>`;
    response.setHeader("content-type", "text/xml").end(`<${action}Response>${result}</${action}Response>`);
  });
  return { url, calls };
}
