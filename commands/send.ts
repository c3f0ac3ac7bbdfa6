import { randomUUID } from "node:crypto";
import { demoSecret, receiverPort } from "../local/defaults.ts";
import { deliver } from "../local/deliver.ts";

// npm run send -- action stuck_orders | orphan_refund | sweep 1.84: signs one event, posts it, prints the answer.
const usage = "usage: npm run send -- action <phase> | orphan_refund | sweep <seconds>";
const [kind, value] = process.argv.slice(2);
const data = { action: { phase: value }, orphan_refund: undefined, sweep: { duration_seconds: Number(value) } };
if (!kind || !Object.hasOwn(data, kind) || (kind !== "orphan_refund" && !value)) {
  console.error(usage);
  process.exit(2);
}
const url = process.env.RECEIVER_URL ?? `http://127.0.0.1:${receiverPort}/`;
const [secret = demoSecret] = process.env.WEBHOOK_SECRET?.split(" ") ?? [];
const event = {
  type: `reconciler.${kind}`,
  timestamp: new Date().toISOString(),
  data: data[kind as keyof typeof data],
};
try {
  const { status, answer } = await deliver(url, secret, `msg_${randomUUID()}`, event);
  console.log(`${status} ${answer}`);
  process.exitCode = status === 200 ? 0 : 1;
} catch {
  console.error(`No receiver answers at ${url}. Run npm start first, or set RECEIVER_URL.`);
  process.exitCode = 1;
}
