import { describe, expect, it } from "vitest";
import { passwordIn, targetOf } from "../../commands/oncall/stage.ts";
import { stageOf } from "../../commands/oncall/write.ts";

const url = "postgres://veza_ledger_oncall:hunter2@[::1]:5433/led%20ger";

describe("the addresses of a stage", () => {
  it("hold no password", () => {
    const stage = stageOf({ DATABASE_URL: url, PUSHGATEWAY_URL: "http://me:hunter2@gateway/", STAGE: "prod" });
    expect(JSON.stringify(stage)).not.toContain("hunter2");
    expect(stage).toMatchObject({ gateway: "http://me@gateway", gatewayAsks: "password", schema: "public" });
    expect(() => stageOf({ DATABASE_URL: "postgres://postgres@127.0.0.1/x" })).toThrow("veza_ledger_oncall@");
    expect(stageOf({ DATABASE_URL: url, PUSHGATEWAY_TOKEN: "t", PUSHGATEWAY_URL: "http://g" }).gatewayAsks).toBe(
      "token",
    );
    expect(stageOf({ DATABASE_URL: url, PUSHGATEWAY_URL: "http://v/api/v1/import/prometheus" }).gateway).toBe("");
  });

  it("lead to Postgres, by ~/.pgpass too", () => {
    const stage = stageOf({ DATABASE_URL: url, PGSSLMODE: "disable" });
    const target = targetOf(stage, "veza_ledger_oncall", "");
    expect(target).toMatchObject({ host: "::1", port: 5433, database: "led ger", tls: "off" });
    expect(targetOf({ ...stage, sslMode: "verify-full" }, "x", "")).toMatchObject({ username: "x", tls: "verified" });
    const file = "# a comment\n\\:\\:1:5433:other:*:no\n\\:\\:1:*:led ger:veza_ledger_oncall:p\\:w\\\\\n*:*:*:*:last\n";
    expect(passwordIn(file, target)).toBe("p:w\\");
    expect(passwordIn(file, { ...target, host: "elsewhere" })).toBe("last");
    expect(passwordIn("", target)).toBeUndefined();
  });
});
