/** A request that is not accepted: the HTTP status, and a message that is fit for the caller and repeats no value. */
export class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
