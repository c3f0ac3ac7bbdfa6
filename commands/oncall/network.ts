// How this laptop reaches the servers: by which proxy, and which authorities it trusts.
import http from "node:http";

/** OpenSSL's codes for a certificate whose authority is not known here. */
const unverified =
  /^(UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT|SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT)/;

/** Whether a connection failed because nobody here vouches for the server's certificate. */
export function isUnverified(error: unknown): boolean {
  const { code, cause } = error as { code?: unknown; cause?: unknown };
  return unverified.test(String(code)) || (cause !== undefined && isUnverified(cause));
}

/** What helps then. */
export const trustAdvice = [
  "Its certificate is of an authority that is not known here. Is it your company's own? Then set NODE_EXTRA_CA_CERTS " +
    "to a file with it, and run this again.",
];

type Environment = Record<string, string | undefined>;

/** The proxies that the environment names, for URLs with https and with http. */
const proxies = ({ HTTPS_PROXY, https_proxy, HTTP_PROXY, http_proxy }: Environment): string[] =>
  [https_proxy || HTTPS_PROXY || undefined, http_proxy || HTTP_PROXY || undefined].filter((url) => url !== undefined);

let isProxyUsed = process.env.NODE_USE_ENV_PROXY === "1";

/** Whether Node understands the URL of a proxy. */
const isUrl = (url: string) => /^https?:\/\//.test(url) && URL.canParse(url);

/** Has requests go by the proxies of the environment, where this Node can. NO_PROXY names hosts that need none. */
export function useProxies(environment: Environment = process.env): void {
  const { setGlobalProxyFromEnv } = http as { setGlobalProxyFromEnv?: (environment: Environment) => unknown };
  if (isProxyUsed || !setGlobalProxyFromEnv || !proxies(environment).every(isUrl)) return;
  setGlobalProxyFromEnv(environment);
  isProxyUsed = true;
}

/** What to do where a server was not reached, and the environment names a proxy. */
export function proxyAdvice(environment: Environment = process.env): string[] {
  const urls = proxies(environment);
  if (urls.length === 0) return [];
  if (!urls.every(isUrl)) return ["HTTPS_PROXY is not used: it has to be a URL, such as http://proxy:3128"];
  if (isProxyUsed)
    return ["HTTPS_PROXY is used. If this server is to be reached without it, name its host in NO_PROXY."];
  return [
    `HTTPS_PROXY is set, and Node ${process.versions.node} does not use it. Node 24.14 and later do and, with ` +
      "NODE_USE_ENV_PROXY=1, Node 22.21 and later.",
  ];
}
