/** A statement of an IAM policy. */
interface Statement {
  Effect: "Allow" | "Deny";
  Action: string | string[];
  Resource: Resource | Resource[];
  Condition?: Record<string, Record<string, Resource>>;
}
type Resource = string | { "Fn::Sub": string };

type Params = Record<"databaseResourceId" | "kmsKeyArn" | "permissionsBoundaryArn", string>;

const networkActions = [
  "ec2:AssignPrivateIpAddresses",
  "ec2:CreateNetworkInterface",
  "ec2:DeleteNetworkInterface",
  "ec2:DescribeNetworkInterfaces",
  "ec2:DescribeSubnets",
  "ec2:UnassignPrivateIpAddresses",
];

/**
 * The IAM role of the function `lambdaName`, as CloudFormation has it: it may write the function's own log, read these
 * secrets and log in to Postgres as `login`. A param that is empty gives no right. Lambda may make and delete network
 * interfaces by it, also without a VPC: a function that has left one still has interfaces there for a while, and they
 * block the subnets until Lambda has deleted them. Its code may not.
 */
export function iamRole(lambdaName: string, login: string, secretIds: string[], params: Params) {
  const { databaseResourceId, kmsKeyArn, permissionsBoundaryArn } = params;
  const arn = (text: string) => ({ "Fn::Sub": `arn:\${AWS::Partition}:${text}` });
  const statements: Statement[] = [
    {
      Effect: "Allow",
      Action: ["logs:CreateLogStream", "logs:PutLogEvents"],
      Resource: arn(`logs:\${AWS::Region}:\${AWS::AccountId}:log-group:/aws/lambda/${lambdaName}:*`),
    },
  ];
  if (databaseResourceId) {
    statements.push({
      Effect: "Allow",
      Action: "rds-db:connect",
      Resource: arn(`rds-db:\${AWS::Region}:\${AWS::AccountId}:dbuser:${databaseResourceId}/${login}`),
    });
  }
  statements.push({
    Effect: "Allow",
    Action: "secretsmanager:GetSecretValue",
    // A secret's ARN ends in its name and six random characters.
    Resource: secretIds.map((id) =>
      id.startsWith("arn:") ? id : arn(`secretsmanager:\${AWS::Region}:\${AWS::AccountId}:secret:${id}-??????`),
    ),
  });
  if (kmsKeyArn) statements.push({ Effect: "Allow", Action: "kms:Decrypt", Resource: kmsKeyArn });
  // As in AWSLambdaVPCAccessExecutionRole, AWS' own policy: Lambda makes the network interfaces.
  const rights = { Action: networkActions, Resource: "*" };
  // Lambda itself sends none: https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html.
  const ownCode = {
    "lambda:SourceFunctionArn": arn(`lambda:\${AWS::Region}:\${AWS::AccountId}:function:${lambdaName}`),
  };
  statements.push({ Effect: "Allow", ...rights }, { Effect: "Deny", ...rights, Condition: { ArnEquals: ownCode } });
  return {
    Type: "AWS::IAM::Role",
    Properties: {
      ...(permissionsBoundaryArn && { PermissionsBoundary: permissionsBoundaryArn }),
      AssumeRolePolicyDocument: {
        Version: "2012-10-17",
        Statement: [{ Effect: "Allow", Principal: { Service: "lambda.amazonaws.com" }, Action: "sts:AssumeRole" }],
      },
      Policies: [
        { PolicyName: "own-logs-and-secrets", PolicyDocument: { Version: "2012-10-17", Statement: statements } },
      ],
    },
  };
}
