import { once } from "node:events";
import { handler } from "../../handlers/receiver.ts";

// Stands in for a receiver's process on Lambda: it takes one event at a time from its parent, and nothing but the handler
// keeps it alive until that has answered. Left out: time-out, memory limit.
for (;;) {
  process.channel?.ref();
  const [event] = await once(process, "message");
  process.channel?.unref();
  process.send?.((await handler(event, {} as never, () => {})) as object);
}
