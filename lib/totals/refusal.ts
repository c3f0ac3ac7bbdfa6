/**
 * Refuses a request: an HTTP status, and a message for the caller. It repeats no value of a request that is not signed.
 */
export class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
