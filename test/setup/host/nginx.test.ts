// setup-servers.test.ts has the same with a real nginx.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { addressesOf, differing, placeOf, readNginx, siteOf, takenFrom } from "../../../setup/host/nginx.ts";

const site = (listens: string) => `server {\n${listens.replaceAll(/(.+)/g, "  listen $1;\n")}  return 200;\n}\n`;
const dump = (files: Record<string, string>) =>
  Object.entries(files)
    .map(([file, text]) => `# configuration file /etc/nginx/${file}:\n${text}\n`)
    .join("");
const http = (...lines: string[]) => `events {}\nhttp {\n${lines.join("\n")}\n}\n`;
const debian = http("# Sites", "include /etc/nginx/conf.d/*.conf;", "include /etc/nginx/sites-enabled/*;");
const file = "zz-veza-ledger-metrics.conf";

it.each([
  ["Debian", { "nginx.conf": debian }, `/etc/nginx/sites-enabled/${file}`],
  ["nginx.org", { "nginx.conf": http("include /etc/nginx/conf.d/*.conf;") }, `/etc/nginx/conf.d/${file}`],
  ["a path from nginx' own folder", { "nginx.conf": http("include conf.d/*;") }, `/etc/nginx/conf.d/${file}`],
  [
    "a folder of files with another end",
    { "nginx.conf": http("include conf.d/*; include v/*.vhost;") },
    `/etc/nginx/conf.d/${file}`,
  ],
  [
    "folders outside of http, and comments",
    { "nginx.conf": `include m/*.conf;\n${http("# include a/*;")}` },
    undefined,
  ],
  [
    "ours, where somebody has moved it",
    { "nginx.conf": debian, [`conf.d/${file}`]: site("443 ssl") },
    `/etc/nginx/conf.d/${file}`,
  ],
] as const)("finds the folder that is read last: %s", (_, files, place) => {
  expect(placeOf(readNginx(dump(files)))).toBe(place);
});

it.each([
  ["nowhere: everywhere", "80", ["443", "[::]:443"]],
  ["for all of IPv4", "443 ssl", ["443"]],
  ["for all, in two words", "*:443 ssl\n[::]:443 ssl", ["*:443", "[::]:443"]],
  ["at one address", "192.0.2.1:443 ssl http2 default_server", ["192.0.2.1:443"]],
  ["at another port, and by QUIC", "8443 ssl\n443 quic", ["443", "[::]:443"]],
])("listens where others do, who listen %s", (_, listens, addresses) => {
  const nginx = readNginx(dump({ "nginx.conf": debian, "sites-enabled/own": site(listens) + site(listens) }));
  expect(addressesOf(nginx, true)).toEqual(addresses);
});

const passesOn = (listen: string) => `stream { server { listen ${listen}; proxy_pass 127.0.0.1:8443; } }`;
it.each([
  ["a stream", passesOn("443"), "8443 ssl", []],
  ["a stream at one address", passesOn("[::]:443"), "80", []],
  ["a stream by UDP", passesOn("443 udp"), "80", ["443", "[::]:443"]],
  ["a stream, and a site at another address", passesOn("192.0.2.2:443"), "192.0.2.1:443 ssl", ["192.0.2.1:443"]],
] as const)("listens nowhere, or where others do, where port 443 is of %s", (_, stream, listens, addresses) => {
  const files = { "nginx.conf": debian + stream, "sites-enabled/own": site(listens) };
  expect(addressesOf(readNginx(dump(files)), true)).toEqual(addresses);
});

it("listens at no address of IPv6 where there is none", () => {
  expect(addressesOf(readNginx(dump({ "nginx.conf": debian })), false)).toEqual(["443"]);
});

const ours: [string, string] = [`/etc/nginx/sites-enabled/${file}`, site("443 ssl")];
const add = (where: string, address = "443") => [
  `Add \`default_server\` to \`listen ${address}\` in /etc/nginx/${where}`,
];
it.each([
  ["no other", {}, []],
  ["one before it, in another folder", { "conf.d/own.conf": site("443 ssl") }, []],
  ["one before it, in the same folder", { "sites-enabled/own": site("443 ssl") }, []],
  ["one at another address", { "sites-enabled/zzz": site("192.0.2.1:443 ssl") }, []],
  ["one behind it", { "sites-enabled/zzz": site("443 ssl") }, add("sites-enabled/zzz")],
  [
    "one behind it, by another word",
    { "sites-enabled/zzz": site("0.0.0.0:443 ssl") },
    add("sites-enabled/zzz", "0.0.0.0:443"),
  ],
  [
    "one behind it, in a file of another",
    { "sites-enabled/zzz": "server { include s/tls.conf; }", "s/tls.conf": "listen '443' ssl;" },
    add("sites-enabled/zzz"),
  ],
  ["one behind it that is the default", { "sites-enabled/zzz": site("443 ssl default_server") }, []],
  ["one of stream, and one in a comment", { "sites-enabled/zzz": `# ${site("443").replaceAll("\n", "")}` }, []],
] as const)("takes nothing from others, or says what to write: %s", (_, files, says) => {
  expect(takenFrom(readNginx(dump({ "nginx.conf": debian, ...files }), [ours]))).toEqual(says);
});

it("finds a site in the main file, behind all folders", () => {
  const main = http("include sites-enabled/*;", site("443 ssl"));
  expect(takenFrom(readNginx(dump({ "nginx.conf": main }), [ours]))).toEqual(add("nginx.conf"));
});

it("writes names, port and files into the shipped site, in quotes where nginx needs them", async () => {
  const shipped = await readFile("config/nginx/veza-ledger-metrics.conf", "utf8");
  const names = { name: "push.veza.test", certificate: "/etc/ssl/a $1;.pem", key: "/etc/ssl/a.key", port: "8099" };
  const text = siteOf(shipped, names, ["192.0.2.1:443"]);
  expect(text.match(/^ +(listen|server_name|ssl_\w+|proxy_pass) .*/gm)?.map((line) => line.trim())).toEqual([
    "listen 192.0.2.1:443 ssl;",
    "server_name push.veza.test;",
    'ssl_certificate "/etc/ssl/a $1;.pem";',
    "ssl_certificate_key /etc/ssl/a.key;",
    "proxy_pass http://127.0.0.1:8099;",
  ]);
  const edited = text.replace("location / {", "location / { # Mine.").replace("8099", "8098");
  expect(differing(edited, text)).toEqual(["proxy_pass http://127.0.0.1:8098;"]);
});
