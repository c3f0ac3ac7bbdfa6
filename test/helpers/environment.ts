import { settingNames } from "../../lib/settings/settings.ts";

/** Sets environment variables of this process; undefined takes one away. */
export function setEnvironment(variables: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}

/** For a program that is to find its settings nowhere. */
export const withoutSettings: Record<string, undefined> = Object.fromEntries(
  ["SECRET_ID", "HOST", "PORT", ...settingNames].map((name) => [name, undefined]),
);
