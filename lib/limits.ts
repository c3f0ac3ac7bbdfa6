// How long the functions wait, in milliseconds. config/postgres/roles.sql has the time-outs of statements, and
// serverless.yml has the functions' own. A tick has 25 s: 4 for settings, 8 to sample, twice 3 to push, 3.5 to publish,
// 3.5 spare. A delivery has 15 s: 4 for settings, 5 to record, 3.5 to publish, 2.5 spare.

/** To read the secrets; settings may need it twice, since a refused password has them read again. */
export const secretsTimeoutMs = 2_000;
/** To find AWS credentials for an IAM token. */
export const credentialsTimeoutMs = 2_000;
/** To dial Postgres and log in. */
export const dialTimeoutMs = 3_000;
/** All counts and their evidence. */
export const sampleTimeoutMs = 8_000;
/** To push the gauges once. */
export const pushTimeoutMs = 3_000;
export const recordTimeoutMs = 5_000;
/** To record on a kept connection, which may have died unnoticed. */
export const keptTimeoutMs = 1_500;
/** To publish the totals, at most twice. */
export const publishTimeoutMs = 3_500;
/** Within a publish: to read what the gateway shows, and to push. */
export const comparePushTimeoutMs = 1_500;
