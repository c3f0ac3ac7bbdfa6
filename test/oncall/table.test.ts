import { describe, expect, it } from "vitest";
import { tableOf } from "../../commands/oncall/table.ts";

describe("a table", () => {
  const columns = [{ name: "id" }, { name: "rows", type: 20 }, { name: "why" }];
  const why = "an import of the old shop, which finance knows about, says Ada";
  it.each<[width: number, lines: string[]]>([
    [Infinity, ["id    rows  why", `----  ----  ${"-".repeat(62)}`, `id_1    12  ${why}`]],
    [
      50,
      [
        "id    rows  why",
        `----  ----  ${"-".repeat(38)}`,
        "id_1    12  an import of the old shop, which",
        "            finance knows about, says Ada",
      ],
    ],
    [30, ["--- 1 of 1", "id    id_1", "rows  12", `why   ${why}`]],
  ])("fits into %s columns", (width, lines) => {
    expect(tableOf(columns, [["id_1", "12", why]], width)).toEqual(lines);
  });

  it("shows what would move the cursor, times without fractions, and booleans in words", () => {
    const rows = [["a\u001b[2Jb", null, "2026-01-31 12:00:00.123+00", "t"]];
    const columns = [{ name: "a" }, { name: "b" }, { name: "c", type: 1184 }, { name: "d", type: 16 }];
    expect(tableOf(columns, rows)[2]).toBe("a\\u{1b}[2Jb     2026-01-31 12:00:00+00  yes");
  });
});
