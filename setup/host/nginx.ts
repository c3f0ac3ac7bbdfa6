// The receiver's site among the sites of a host. What answered before goes on to answer the same: without
// `default_server`, nginx gives names that no site has, and addresses, to the site that it reads first.
import path from "node:path";

/** Of nginx' files: who answers at port 443. */
export interface Nginx {
  /** In the order in which nginx reads them. */
  servers: Server[];
  /** Where a `stream` listens, which a site cannot do besides: nginx' test passes, and its next start fails. */
  streams: { file: string; address: string }[];
  /** The folder whose files it reads last. */
  last: string | undefined;
}

interface Server {
  file: string;
  listens: Listen[];
}

interface Listen {
  /** As it is written, such as [::]:443. */
  address: string;
  isDefault: boolean;
}

/** The file's name is the last of its folder. */
const fileName = "zz-veza-ledger-metrics.conf";

const isOurs = ({ file }: Server): boolean => path.basename(file) === fileName;

/** Reads what `nginx -T` prints, and what it would print with one more file: its path and its text. */
export function readNginx(dump: string, added: [file: string, text: string][] = []): Nginx {
  const files = new Map<string, string>();
  for (const part of dump.split(/^# configuration file (?=.*:$)/m).slice(1)) {
    const [, file = "", text = ""] = /^(.*):\n([\s\S]*)$/.exec(part) ?? [];
    files.set(file, text);
  }
  const [main = ""] = files.keys();
  for (const [file, text] of added) files.set(file, text);
  const nginx: Nginx = { servers: [], streams: [], last: undefined };
  readFile(main, { files, main, blocks: [] }, nginx);
  return nginx;
}

interface Place {
  files: Map<string, string>;
  main: string;
  /** The blocks that a statement is in, from outside. */
  blocks: string[];
}

function readFile(file: string, { files, main, blocks }: Place, nginx: Nginx): void {
  let words: string[] = [];
  for (const token of tokensOf(files.get(file) ?? "")) {
    const [word = "", argument = ""] = words;
    if (token === "}") blocks.pop();
    else if (token === "{") blocks.push(word);
    if (token === "{" && blocks.join(" ") === "http server") nginx.servers.push({ file, listens: [] });
    if (token === ";" && word === "include") {
      const pattern = path.resolve(path.dirname(main), argument);
      const found = [...files.keys()].filter((each) => path.matchesGlob(each, pattern)).sort();
      for (const each of found) readFile(each, { files, main, blocks }, nginx);
      const [, folder] = /^(.*)\/\*(\.conf)?$/.exec(pattern) ?? [];
      if (folder && blocks.join(" ") === "http") nginx.last = folder;
    }
    if (token === ";" && word === "listen" && isTcp443(words)) {
      const isDefault = words.some((each) => each === "default_server" || each === "default");
      if (blocks.join(" ") === "http server") nginx.servers.at(-1)?.listens.push({ address: argument, isDefault });
      if (blocks.join(" ") === "stream server") nginx.streams.push({ file, address: argument });
    }
    if (/^[;{}]$/.test(token)) words = [];
    else words.push(token.replace(/^(["'])(.*)\1$/s, "$2"));
  }
}

const isTcp443 = ([, address = "", ...rest]: string[]) =>
  /(^|:)443$/.test(address) && !rest.some((each) => each === "quic" || each === "udp");

/** Words, and what ends or opens a statement. A comment begins where a word would. */
const tokensOf = (text: string): string[] =>
  [...text.matchAll(/#.*|[;{}]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?:\\.|\$\{\w*\}|[^\s;{}])+/g)]
    .map(([token]) => token)
    .filter((token) => !token.startsWith("#"));

/** Where the site is, or is to be. Undefined where nginx reads no folder. */
export function placeOf({ servers, last }: Nginx): string | undefined {
  return servers.find(isOurs)?.file ?? (last && path.join(last, fileName));
}

/** nginx takes these for one. */
const normal = (address: string) => (address === "443" ? "*:443" : address.replace(/^0\.0\.0\.0:/, "*:"));

/**
 * Where the site is to listen: at the addresses where others do, and no other, since their names may lead to an address
 * on which nothing has answered. Without others, everywhere; nowhere if a `stream` has the port.
 */
export function addressesOf({ servers, streams }: Nginx, hasIpv6: boolean): string[] {
  const others = servers.filter((server) => !isOurs(server)).flatMap(({ listens }) => listens);
  const distinct = new Map(others.map(({ address }) => [normal(address), address]));
  if (distinct.size > 0 || streams.length > 0) return [...distinct.values()];
  return hasIpv6 ? ["443", "[::]:443"] : ["443"]; // nginx would not start with an address of IPv6 that is not here.
}

/** A sentence for each address where our site would answer what others have answered before it. */
export function takenFrom({ servers }: Nginx): string[] {
  const all = servers.flatMap((server) => server.listens.map((listen) => ({ ...listen, server })));
  const at = ({ address }: Listen) => all.filter((each) => normal(each.address) === normal(address));
  return all
    .filter(({ server }) => isOurs(server))
    .flatMap((ours) => {
      const answering = at(ours).find(({ isDefault }) => isDefault) ?? at(ours)[0];
      const other = at(ours).find(({ server }) => !isOurs(server));
      if (!other || (answering && !isOurs(answering.server))) return [];
      return `Add \`default_server\` to \`listen ${other.address}\` in ${other.server.file}`;
    });
}

/** What the site has of the names. */
export interface Site {
  name: string;
  certificate: string;
  key: string;
  port: string;
}

/** The site, from the shipped one. */
export function siteOf(shipped: string, { name, certificate, key, port }: Site, addresses: string[]): string {
  const listens = addresses.map((address) => `  listen ${address} ssl;\n`).join("");
  return shipped
    .replace(/( *listen .*;\n)+/, () => listens)
    .replace("ledger-metrics.example.com", () => name)
    .replace("/etc/ssl/certs/ledger-metrics.pem", () => quoted(certificate))
    .replace("/etc/ssl/private/ledger-metrics.key", () => quoted(key))
    .replace(":8080", `:${port}`);
}

const quoted = (file: string) => (/[\s;{}"'\\#$]/.test(file) ? `"${file.replace(/["\\]/g, "\\$&")}"` : file);

/** The lines of a site that its names do not have so. */
export function differing(there: string, wanted: string): string[] {
  const linesOf = (text: string) =>
    text
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => /^(server_name|ssl_certificate|ssl_certificate_key|proxy_pass) /.test(line));
  return linesOf(there).filter((line) => !linesOf(wanted).includes(line));
}
