/** Makes an attempt, and one more when it fails and `mayHelp` says of the error that another attempt may succeed. */
export async function retryOnce<T>(attempt: () => Promise<T>, mayHelp: (error: unknown) => boolean): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (!mayHelp(error)) throw error;
    return await attempt();
  }
}
