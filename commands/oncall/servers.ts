// Prometheus, Alertmanager, the gateway and Hyperswitch, as people on call ask them.
import { deadlineFor, TooLate, withAnyOf } from "../../lib/deadline.ts";
import { fetchFailure } from "../../lib/gateway/fetch-failure.ts";
import { visibly } from "../quote.ts";
import type { Secrets } from "./command.ts";
import { isUnverified, proxyAdvice, trustAdvice } from "./network.ts";
import type { Stage } from "./stage.ts";
import { Refusal, type Terminal } from "./terminal.ts";

export interface Sample {
  metric: Record<string, string>;
  value: [at: number, value: string];
}

export interface Matcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual?: boolean;
}

export interface Servers {
  /** What Prometheus has for an expression now. */
  query(expression: string): Promise<Sample[]>;
  /** Asks Prometheus for a path. */
  prometheus<Answer>(path: string): Promise<Answer>;
  alertmanager<Answer>(path: string, options?: Request): Promise<Answer>;
  /** Asks the gateway for a path. Resolves to the answer's text. */
  gateway(path: string, method?: "GET" | "DELETE"): Promise<string>;
  /**
   * Whether a server says that it is ready. Undefined where the file has no address, or nobody typed its password.
   * Refuses where its certificate cannot be verified here.
   */
  isReady(server: "prometheus" | "alertmanager" | "gateway"): Promise<boolean | undefined>;
  /** How a payment or a refund ended, by Hyperswitch. */
  bank(what: "payments" | "refunds", id: string, apiKey: string): Promise<Record<string, unknown>>;
}

/** The gateway's URL, without a user. */
export const gatewayUrl = ({ gateway }: Stage): string => gateway.replace(/^(\w+:\/\/)[^@/]*@/, "$1");

/** The headers that a secret of the gateway makes. */
export function gatewayHeaders({ gateway, gatewayAsks }: Stage, secret = ""): Record<string, string> {
  if (!gatewayAsks) return {};
  const user = decodeURIComponent(new URL(gateway).username);
  const basic = Buffer.from(`${user}:${secret}`).toString("base64");
  return { authorization: gatewayAsks === "token" ? `Bearer ${secret}` : `Basic ${basic}` };
}

/** The gateway, or a person at it, said no, and is up. */
class NotAllowed extends Refusal {}
/** Nobody here vouches for the server, which may be up. */
class Unverified extends Refusal {}

/** Its requests end where `signal` aborts. */
export function serversOf(stage: Stage, terminal: Terminal, secrets: Secrets, signal: AbortSignal): Servers {
  /** Undefined where the gateway cannot be asked. */
  const headersOfGateway = async (): Promise<Record<string, string> | undefined> => {
    if (!stage.gateway) return undefined;
    if (!stage.gatewayAsks) return {};
    secrets.gateway ??=
      process.env.GATEWAY_SECRET ?? (await terminal.secret(`The gateway's ${stage.gatewayAsks}, if you have it`));
    return secrets.gateway ? gatewayHeaders(stage, secrets.gateway) : undefined;
  };
  const request = (what: string, url: string, options: Request = {}) => send(what, url, signal, options);

  const servers: Servers = {
    async query(expression) {
      const { data } = await servers.prometheus<{ data: { result: Sample[] } }>(
        `/api/v1/query?${new URLSearchParams({ query: expression })}`,
      );
      return data.result;
    },
    async prometheus(path) {
      const help = [
        "If it is down, no alert can fire: call the platform engineer, and run all_rows every half hour meanwhile.",
      ];
      return parsed(await request("Prometheus", stage.prometheus + path, { advice: help }));
    },
    async alertmanager(path, options = {}) {
      const advice = ["Call the platform engineer."];
      return parsed(await request("Alertmanager", `${stage.alertmanager}/api/v2/${path}`, { ...options, advice }));
    },
    async gateway(path, method = "GET") {
      const headers = await headersOfGateway();
      if (!headers) {
        throw new Refusal(
          "The gateway was not asked, and may be up: this file has no address of it, or you gave no password.",
        );
      }
      const advice = ["If it is down, call the platform engineer, who restarts it."];
      // A proxy in front of it may answer a DELETE with a page of its own.
      const isDone = (status: number) => (method === "DELETE" ? status === 202 : status === 200);
      return request("The gateway", gatewayUrl(stage) + path, { method, headers, advice, isDone }).catch((error) => {
        if (error instanceof NotAllowed) delete secrets.gateway; // To be asked for again.
        throw error;
      });
    },
    async isReady(server) {
      if (!stage[server]) return undefined;
      const headers = server === "gateway" ? await headersOfGateway() : {};
      if (!headers) return undefined;
      const url = server === "gateway" ? gatewayUrl(stage) : stage[server];
      return request(server, `${url}/-/ready`, { headers }).then(
        () => true,
        (error) => {
          if (error instanceof Unverified) throw error;
          return error instanceof NotAllowed ? undefined : false;
        },
      );
    },
    async bank(what, id, apiKey) {
      const advice = ["401: the API key is wrong. 404: the id is wrong. Otherwise open the id on its dashboard."];
      const url = `${stage.hyperswitch}/${what}/${id}?force_sync=true`;
      return parsed(await request("Hyperswitch", url, { headers: { "api-key": apiKey }, timeoutMs: 60_000, advice }));
    },
  };
  return servers;
}

interface Request extends RequestInit {
  headers?: Record<string, string>;
  advice?: string[];
  timeoutMs?: number;
  isDone?: (status: number) => boolean;
}

/** Sends one request, follows no redirect, and resolves to the answer's text. */
async function send(
  what: string,
  url: string,
  ended: AbortSignal,
  { advice = [], timeoutMs = 10_000, isDone = (status) => status >= 200 && status < 300, ...options }: Request,
): Promise<string> {
  if (!URL.canParse(url)) throw new Refusal(`This file has no address of ${what}.`);
  // fetch would print such a secret.
  if (!Object.values(options.headers ?? {}).every((value) => /^[\x20-\x7e]*$/.test(value))) {
    throw new Refusal(`${what} was not asked: what you typed has a character that no password or key has.`);
  }
  try {
    const { status, text } = await withAnyOf([ended, deadlineFor(what, timeoutMs)], async (signal) => {
      const answer = await fetch(url, { redirect: "manual", signal, ...options });
      return { status: answer.status, text: await answer.text() };
    });
    if (isDone(status)) return text;
    const reason = visibly(text.slice(0, 300).replaceAll(/\s+/g, " ").trim());
    const Kind = [401, 403].includes(status) ? NotAllowed : Refusal;
    const isOurs = status === 400; // The request is wrong, and the server is up.
    throw new Kind(`${what} answers ${status}${reason && `: ${reason}`}`, ...(isOurs ? [] : advice));
  } catch (error) {
    if (error instanceof Refusal) throw error;
    const why = error instanceof TooLate ? `nothing came within ${timeoutMs / 1000} s` : fetchFailure(error);
    const said = `${what} does not answer at ${new URL(url).host}: ${why}`;
    if (isUnverified(error)) throw new Unverified(said, ...trustAdvice);
    throw new Refusal(said, ...proxyAdvice(), ...advice);
  }
}

function parsed<Answer>(text: string): Answer {
  try {
    return JSON.parse(text || "null") as Answer;
  } catch {
    throw new Refusal(`The answer is not JSON, so it is of another server: ${text.slice(0, 100)}`);
  }
}
