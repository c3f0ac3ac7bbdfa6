import { serve } from "../../commands/function-url.ts";
import { handler } from "../../handlers/receiver.ts";

// A receiver in a process of its own: prints its URL.
const { url } = await serve(handler, 0);
console.log(`receiver ${url}`);
