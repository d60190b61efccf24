/** What comes at all comes within this time, even where every core is wanted by ten others. */
const PATIENCE_MS = 60_000;

/** Waits until `check` no longer throws, and lets its last error through when it never does. */
export async function eventually<Value>(check: () => Value | Promise<Value>, timeoutMs = PATIENCE_MS): Promise<Value> {
  const deadline = performance.now() + timeoutMs;
  while (true) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Whether the operating system still has this process, zombies left out. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
