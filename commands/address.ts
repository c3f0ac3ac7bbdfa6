// Where the receiver listens without AWS: the settings PORT and HOST, and the port without them.
import { isIP } from "node:net";

/** Port of the receiver, of `npm start` and `npm run serve` by default, and that `npm run send` posts to. */
export const receiverPort = 8080;

/** Reads the port of a setting PORT. Throws an Error for any other text. */
export function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new Error("PORT must be a number from 1 to 65535");
  return port;
}

/**
 * Reads the address of a setting HOST. Throws an Error for any other text: some shells export the machine's name as
 * HOST.
 */
export function parseHost(text: string): string {
  if (!isIP(text)) throw new Error("HOST must be an IP address, such as 0.0.0.0 for all of this machine's");
  return text;
}
