// What serverless.yml makes of its params: everything that depends on whether an optional one is set. CommonJS, because
// Serverless loads it with require().

const names = [
  "samplerSecretId",
  "receiverSecretId",
  "pushgatewayUrl",
  "subnetIds",
  "securityGroupIds",
  "alarmTopicArn",
  "receiverConcurrency",
  "urlAuthorizer",
];

module.exports = async ({ resolveVariable }) => {
  const params = {};
  for (const name of names) params[name] = String((await resolveVariable(`param:${name}`)) ?? "").trim();
  const stage = await resolveVariable("sls:stage");
  const service = await resolveVariable("self:service");
  check({ ...params, stage, region: await resolveVariable("self:provider.region") });

  const subnetIds = list(params.subnetIds);
  const inVpc = subnetIds.length > 0;
  const environment = (secretId) => ({
    SECRET_ID: secretId,
    STAGE: stage,
    ...(params.pushgatewayUrl && { PUSHGATEWAY_URL: params.pushgatewayUrl }),
    // Node's own roots lack those that sign the certificates of RDS. Lambda brings them, but does not load them.
    NODE_EXTRA_CA_CERTS: "/var/runtime/ca-cert.pem",
  });
  return {
    samplerEnvironment: environment(params.samplerSecretId),
    receiverEnvironment: environment(params.receiverSecretId),
    samplerRole: role(`${service}-${stage}-sampler`, params.samplerSecretId, inVpc),
    receiverRole: role(`${service}-${stage}-receiver`, params.receiverSecretId, inVpc),
    vpc: inVpc ? { subnetIds, securityGroupIds: list(params.securityGroupIds) } : undefined,
    url: params.urlAuthorizer === "aws_iam" ? { authorizer: "aws_iam" } : true,
    receiverConcurrency: params.receiverConcurrency === "off" ? undefined : Number(params.receiverConcurrency),
    alarmActions: list(params.alarmTopicArn),
  };
};

/** Throws one error with all problems, by the names of the params. */
function check(params) {
  const problems = [];
  const must = (holds, problem) => holds || problems.push(problem);
  const isSecretId = (id) => /^(arn:aws[\w-]*:secretsmanager:[\w-]+:\d{12}:secret:)?[\w/+=.@!-]+$/.test(id);
  must(/^[A-Za-z0-9-]+$/.test(params.stage), "stage may hold letters, digits and - only");
  for (const name of ["samplerSecretId", "receiverSecretId"]) {
    const ids = list(params[name]);
    must(ids.length > 0 && ids.every(isSecretId), `${name} must be names or ARNs of secrets, separated by commas`);
  }
  const url = URL.parse(params.pushgatewayUrl || "http://in.the.secrets");
  must(/^https?:$/.test(url?.protocol), "pushgatewayUrl must be an http or https URL");
  must(
    !url?.username && !url?.password,
    "pushgatewayUrl must not carry credentials: put PUSHGATEWAY_URL into the secrets",
  );
  const [subnets, groups] = [list(params.subnetIds), list(params.securityGroupIds)];
  must(subnets.length > 0 === groups.length > 0, "subnetIds and securityGroupIds belong together: set both or none");
  must(
    subnets.every((id) => id.startsWith("subnet-")),
    "subnetIds must be like subnet-0123abcd, separated by commas",
  );
  must(
    groups.every((id) => id.startsWith("sg-")),
    "securityGroupIds must be like sg-0123abcd, separated by commas",
  );
  const isTopic = new RegExp(`^(arn:aws[\\w-]*:sns:${params.region}:\\d{12}:\\S+)?$`);
  must(
    isTopic.test(params.alarmTopicArn),
    `alarmTopicArn must be the ARN of an SNS topic in ${params.region}, or empty`,
  );
  must(
    /^([1-9]\d*|off)$/.test(params.receiverConcurrency),
    "receiverConcurrency must be a whole number above 0, or off",
  );
  must(/^(none|aws_iam)$/.test(params.urlAuthorizer), "urlAuthorizer must be none or aws_iam");
  if (problems.length === 0) return;
  const error = new Error(problems.join("; "));
  error.stack = error.message; // Serverless prints the stack, which says nothing to a deployer.
  throw error;
}

/** A role that may write its own function's log and read its own function's secrets. */
function role(functionName, secretIds, inVpc) {
  const arn = (text) => ({ "Fn::Sub": `arn:\${AWS::Partition}:${text}` });
  const statements = [
    {
      Effect: "Allow",
      Action: ["logs:CreateLogStream", "logs:PutLogEvents"],
      Resource: arn(`logs:\${AWS::Region}:\${AWS::AccountId}:log-group:/aws/lambda/${functionName}:*`),
    },
    {
      Effect: "Allow",
      Action: "secretsmanager:GetSecretValue",
      // A secret's ARN is its name and six random characters.
      Resource: list(secretIds).map((id) =>
        id.startsWith("arn:") ? id : arn(`secretsmanager:\${AWS::Region}:\${AWS::AccountId}:secret:${id}-??????`),
      ),
    },
  ];
  if (inVpc) {
    statements.push({
      Effect: "Allow",
      Action: [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ],
      // Lambda makes the network interfaces, and AWS' own policy for that (AWSLambdaVPCAccessExecutionRole) has * too.
      Resource: "*",
    });
  }
  return {
    Type: "AWS::IAM::Role",
    Properties: {
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

function list(text) {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean);
}
