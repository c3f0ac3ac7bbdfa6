// What serverless.yml makes of a stage's params: checks them, and everything that depends on whether an optional one is set.
// CommonJS, because Serverless loads it with require().

// https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html, as of November 2026.
const regionsWithoutUrls = [
  ...["ap-east-2", "ap-south-2", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7"],
  ...["ca-west-1", "eu-central-2", "eu-south-2", "il-central-1", "me-central-1"],
];

module.exports = async ({ options, resolveVariable, resolveConfigurationProperty }) => {
  const stage = await resolveVariable("sls:stage");
  const service = await resolveVariable("self:service");
  const { default: defaults, ...blocks } = await resolveConfigurationProperty(["params"]);
  checkSource(blocks, stage, defaults, options);
  const params = {};
  for (const [name, value] of Object.entries({ ...defaults, ...blocks[stage] })) {
    params[name] = name === "tags" ? value : String(value ?? "").trim();
  }
  checkValues(params, `${service}-${stage}-receiver`);

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
    samplerRole: role(`${service}-${stage}-sampler`, params.samplerSecretId, params),
    receiverRole: role(`${service}-${stage}-receiver`, params.receiverSecretId, params),
    vpc: inVpc ? { subnetIds, securityGroupIds: list(params.securityGroupIds) } : undefined,
    url: { none: true, aws_iam: { authorizer: "aws_iam" } }[params.urlAuthorizer],
    receiverConcurrency: params.receiverConcurrency === "off" ? undefined : Number(params.receiverConcurrency),
    alarmActions: list(params.alarmTopicArn),
  };
};

/** Throws an error where params are set that would not be kept, or not be used. */
function checkSource(blocks, stage, defaults, options) {
  const block = blocks[stage];
  if (!block) {
    fail([
      `serverless.yml has no params for the stage ${stage}, only for ${Object.keys(blocks).join(" and ")}; add a block, if only "${stage}: {}"`,
    ]);
  }
  const given = (options.param ?? []).map((text) => text.split("=")[0]);
  if (options.region && options.region !== (block.region ?? defaults.region)) given.push("region");
  fail([
    ...given.map(
      (name) =>
        `${name} is given on the command line, and the next deployment would forget it: put it under params, ${stage}`,
    ),
    ...Object.keys(block)
      .filter((name) => !(name in defaults))
      .map((name) => `${name} under params, ${stage}, is not known: there are ${Object.keys(defaults).join(", ")}`),
  ]);
}

/** Throws one error with all that AWS would refuse, or that would do nothing, by the names of the params. */
function checkValues(params, longestName) {
  const problems = [];
  const must = (holds, problem) => holds || problems.push(problem);
  const { region } = params;
  const hasRegion = /^[a-z]{2}(-[a-z]+)+-\d$/.test(region);
  must(hasRegion, "region must be like eu-central-1");
  must(/^[A-Za-z0-9-]+$/.test(longestName), "stage may hold letters, digits and - only");
  must(longestName.length <= 64, `stage is too long: ${longestName} has more than Lambda's 64 characters`);
  const arnOf = (service, rest) => new RegExp(`^arn:aws[\\w-]*:${service}:${rest}$`);
  const secretArn = arnOf("secretsmanager", `${region}:\\d{12}:secret:[\\w/+=.@!-]+-[A-Za-z0-9]{6}`);
  for (const name of ["samplerSecretId", "receiverSecretId"]) {
    const ids = list(params[name]);
    must(
      ids.length > 0 && ids.every((id) => (id.startsWith("arn:") ? secretArn.test(id) : /^[\w/+=.@!-]+$/.test(id))),
      `${name} must be names of secrets, or their whole ARNs with the six last characters, in ${region}, separated by commas`,
    );
  }
  must(
    !params.kmsKeyArn || arnOf("kms", `${region}:\\d{12}:key/[\\w-]+`).test(params.kmsKeyArn),
    `kmsKeyArn must be the ARN of a key in ${region}, not of an alias, or empty`,
  );
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
  must(
    !params.alarmTopicArn || arnOf("sns", `${region}:\\d{12}:\\S+`).test(params.alarmTopicArn),
    `alarmTopicArn must be the ARN of an SNS topic in ${region}, or empty`,
  );
  must(
    /^([1-9]\d*|off)$/.test(params.receiverConcurrency),
    "receiverConcurrency must be a whole number above 0, or off",
  );
  must(/^(none|aws_iam|off)$/.test(params.urlAuthorizer), "urlAuthorizer must be none, aws_iam or off");
  must(
    params.urlAuthorizer === "off" || !regionsWithoutUrls.includes(region),
    `urlAuthorizer must be off in ${region}, which has no function URLs: callers invoke the receiver itself there`,
  );
  must(
    !params.permissionsBoundaryArn || arnOf("iam", ":(\\d{12}|aws):policy/\\S+").test(params.permissionsBoundaryArn),
    "permissionsBoundaryArn must be the ARN of a policy, or empty",
  );
  const tags = Object.entries(Object(params.tags));
  must(
    Object(params.tags) === params.tags && tags.every(([, value]) => typeof value === "string"),
    "tags must be names with texts, such as { team: payments }",
  );
  fail(problems);
}

/** Throws what a deployer reads, if there is any. */
function fail(problems) {
  if (problems.length === 0) return;
  const error = new Error(problems.join("; "));
  error.stack = error.message; // Serverless prints the stack, which says nothing to a deployer.
  throw error;
}

/** A role that may write its own function's log and read its own function's secrets. */
function role(functionName, secretIds, { kmsKeyArn, permissionsBoundaryArn, subnetIds }) {
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
  if (kmsKeyArn) statements.push({ Effect: "Allow", Action: "kms:Decrypt", Resource: kmsKeyArn });
  if (subnetIds) {
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

function list(text) {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean);
}
