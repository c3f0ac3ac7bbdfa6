/** Refuses a request: an HTTP status, and a message for the caller that repeats no value of the request. */
export class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
