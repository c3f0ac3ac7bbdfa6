/**
 * Does a step, and says so on standard error: one line, whose end is what `work` resolves to, or "failed". Resolves or
 * rejects as `work` does.
 */
export async function announce(step: string, work: () => Promise<string>): Promise<void> {
  process.stderr.write(`${step} … `);
  try {
    process.stderr.write(`${await work()}\n`);
  } catch (error) {
    process.stderr.write("failed\n");
    throw error;
  }
}
