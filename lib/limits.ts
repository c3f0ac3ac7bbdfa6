// How long the functions wait, and how long what they keep is good. serverless.yml has the functions' own time-outs:
// docs/reference.md adds up what a tick and a delivery may take.

/** To read the secrets; settings may need it twice, since a refused password has them read again. */
export const secretsTimeoutMs = 2_000;
/**
 * To find AWS credentials for an IAM token. On Lambda they are in the environment; elsewhere, a log-in may take that
 * much longer.
 */
export const credentialsTimeoutMs = 2_000;
/** To dial Postgres and log in. */
export const dialTimeoutMs = 3_000;
/** All counts and their evidence. */
export const sampleTimeoutMs = 8_000;
/** One statement that reads. */
export const readTimeoutMs = 1_500;
/** To wait for a lock on a table that is read. */
export const readLockTimeoutMs = 500;
/** One statement that writes, and its wait for a lock. */
export const writeTimeoutMs = 3_000;
export const writeLockTimeoutMs = 2_000;
/** Silence in a transaction of several messages, after which Postgres ends the session: a push has less time. */
export const idleInTransactionTimeoutMs = 10_000;
/** To look on the gateway for another sampler. */
export const otherSamplerTimeoutMs = 1_000;
/** How old a tick of another sampler may be, so that this sampler still runs. */
export const otherSamplerSeconds = 180;
/** To push the gauges once. */
export const pushTimeoutMs = 3_000;
/** To ask for the ids of counted rows, and log them. */
export const rowsTimeoutMs = 2_000;
/** To record a delivery, with a second attempt and the wait for a connection. */
export const recordTimeoutMs = 5_000;
/** To record on a kept connection, which may have died unnoticed. */
export const keptTimeoutMs = 1_500;
/** To publish the totals, at most twice. */
export const publishTimeoutMs = 3_500;
/** Within a publish: to read what the gateway shows, and to push. */
export const comparePushTimeoutMs = 1_500;

/**
 * How many connections a process of `npm run serve` lends to deliveries at the same time: as many as all receivers on
 * AWS have, since serverless.yml lets five run at once. On Lambda, a process uses one.
 */
export const maxConnections = 5;
/**
 * How long after its last use a connection is lent again. It is longer than any statement takes, and shorter than the
 * time after which a NAT or a proxy drops an idle connection.
 */
export const connectionFreshMs = 10_000;
/** How long secrets are kept. */
export const secretsFreshMs = 5 * 60_000;
/**
 * How long they are kept instead where they could not be read, or an invocation failed. The time is for one secret: two
 * are kept for twice as long.
 */
export const secretsRetryMs = 5_000;

/** How far a signature's timestamp may be from our clock, and a sweep's end without a warning. */
export const toleranceSeconds = 300;
/** How old a sweep's end may be without a warning. A little later, the ticket about a dead reconciler fires. */
export const lateSweepSeconds = 600;
/** How long a sweep may take without a warning: what takes longer is more likely in milliseconds. */
export const longSweepSeconds = 600;
/** How far apart the clocks of Postgres and the sampler may be: further apart, they cannot tell minutes. */
export const maxClockDifferenceSeconds = 60;

/** Maximum size of a delivery's body. A larger one is verified all the same, so that its sender may be told. */
export const maxBodyBytes = 256 * 1024;
export const maxEvents = 1_000;
/** Maximum length of a delivery's id, in characters. */
export const maxIdLength = 256;
/**
 * How long a delivery's id is kept: sent again later, the delivery counts again. Standard Webhooks' longest schedule of
 * retries ends after about three days. The Go client relies on it: send.go there sends nothing again after 13 days.
 */
export const idsKeptDays = 14;
