/** Sets environment variables of this process; undefined takes one away. */
export function setEnvironment(variables: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}

/** For a program that is to find its settings nowhere. */
export const withoutSettings: Record<string, undefined> = {
  DATABASE_URL: undefined,
  PUSHGATEWAY_URL: undefined,
  WEBHOOK_SECRET: undefined,
  SECRET_ID: undefined,
  STAGE: undefined,
};
