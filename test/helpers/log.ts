import { onTestFinished, vi } from "vitest";

type Line = Record<string, unknown> & { level: string; message: string };

/** Collects the log lines that are written while the calling test runs, instead of printing them. */
export function captureLog(): Line[] {
  const lines: Line[] = [];
  for (const level of ["info", "warn", "error"] as const) {
    const spy = vi.spyOn(console, level).mockImplementation((text) => void lines.push(JSON.parse(text)));
    onTestFinished(() => spy.mockRestore());
  }
  return lines;
}
