import { subscribe } from "node:diagnostics_channel";
import { Duplex } from "node:stream";
import { Registry } from "prom-client";
import { connect } from "../../lib/database.ts";
import { deadline } from "../../lib/deadline.ts";
import { parseDatabaseUrl } from "../../lib/settings.ts";
import { publishTotals } from "../../lib/totals.ts";

// Publishes the totals once, stops itself on the way where argv says, and prints what came of it once it may go on.
const [, , place] = process.argv;
let hasStopped = false;
const stop = () => {
  if (!hasStopped) process.kill(process.pid, "SIGSTOP");
  hasStopped = true;
};
const target = parseDatabaseUrl(process.env.DATABASE_URL ?? "");
const connection = await connect(async () => target, "stopping", deadline("Postgres", 20_000));
if (place === "rendering") {
  const { metrics } = Registry.prototype;
  Registry.prototype.metrics = function () {
    stop();
    return metrics.call(this);
  };
} else if (place === "connecting") {
  subscribe("undici:client:connected", stop);
} else if (place === "confirming") {
  // Once it has asked. The answer comes meanwhile, and right behind it the end of the connection.
  const { write } = Duplex.prototype;
  Duplex.prototype.write = function (this: Duplex, ...args: Parameters<typeof write>) {
    const isWritten = write.apply(this, args);
    if (String(args[0]).includes("select 1\0")) stop();
    return isWritten;
  } as typeof write;
}
const gateway = { url: process.env.PUSHGATEWAY_URL ?? "" };
await publishTotals(connection, gateway, "stopping", deadline("the test", 20_000)).then(
  (isPublished) => console.log(`published: ${isPublished}`),
  (error) => console.log(`rejected: ${error.message}`),
);
await connection.close();
