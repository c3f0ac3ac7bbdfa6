import { handler } from "../../handlers/receiver.ts";
import { serve } from "../../local/function-url.ts";

// A receiver in a process of its own: prints its URL.
const { url } = await serve(handler, 0);
console.log(`receiver ${url}`);
