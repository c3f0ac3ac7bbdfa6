// How a payment or a refund ended, by Hyperswitch.
import { visibly } from "../quote.ts";
import type { Command } from "./command.ts";
import { Refusal } from "./terminal.ts";

export const bankCommands: Command[] = [
  {
    name: "ask",
    calls: ["ask payments ID", "ask refunds ID"],
    help: "Asks Hyperswitch, and through it the bank, how a payment or a refund ended. It changes nothing.",
    async run({ line, print, secret, secrets, servers }, what, given) {
      if (what !== "payments" && what !== "refunds") {
        throw new Refusal("Nobody was asked: say ask payments, or ask refunds.");
      }
      const id = given ?? (await line("Its id at Hyperswitch"));
      if (!/^[A-Za-z0-9_-]+$/.test(id)) throw new Refusal("Nobody was asked: this is no id.");
      const apiKey =
        secrets.hyperswitch ||
        (process.env.HYPERSWITCH_API_KEY ?? (await secret("API key of Hyperswitch, if you have one")));
      if (!apiKey) {
        throw new Refusal("Nobody was asked: you gave no API key. Open the id on Hyperswitch's dashboard.");
      }
      const { status, error_code } = await servers.bank(what, id, apiKey);
      secrets.hyperswitch = apiKey; // It was right.
      const isFinal = /^(succeeded|failed|cancelled)$/.test(String(status));
      print(
        visibly(
          error_code && !isFinal ? `unknown: ${error_code}` : String(status ?? "unknown: the answer has no status"),
        ),
      );
    },
  },
];
