import { freePort } from "../../local/ports.ts";

// Prints the first port from that in argv on that is free for this process.
console.log(await freePort(Number(process.argv[2])));
