import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { leftOfRoute } from "../../../setup/host/route.ts";

const of = { file: "/etc/alertmanager.yml", stage: "shop", repository: "https://git/main" };
const give = "Give Alertmanager the route: https://git/main/docs/servers-in-use.md#alertmanager";
const filled = (await readFile("config/alertmanager/alertmanager.yml", "utf8")).replaceAll("127.0.0.1:9999", "pager");

it.each(["team-x-mails", "team-x-mails,pages-of-x", ""])("asks for the route while a page goes to %j", (receiver) => {
  expect(leftOfRoute("route: { receiver: team-x-mails }", { ...of, receiver })).toEqual([give]);
});

it.each(["pages", "veza-ledger-pages", "team-x-mails,veza-ledger-pages"])(
  "has nothing to ask for where a page goes to %s",
  (receiver) => {
    expect(leftOfRoute(filled, { ...of, receiver })).toEqual([]);
  },
);

it("names the lines with examples, and a stage whose pages are tickets", () => {
  const text = "a\n- url: http://127.0.0.1:9999/page\n\n- url: http://127.0.0.1:9999/ticket\n";
  const left = leftOfRoute(text, { ...of, receiver: "tickets" });
  expect(left).toEqual([
    expect.stringContaining("Replace the examples in /etc/alertmanager.yml, lines 2 4:"),
    expect.stringContaining("If customers pay on shop, name it beside prod in /etc/alertmanager.yml."),
  ]);
});
