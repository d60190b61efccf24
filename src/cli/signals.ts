/** Signals that ask the process to end, as they really arrive. */

export interface StopHandlers {
  /** The first signal. */
  stop(signal: NodeJS.Signals): void;
  /** A later one: the person does not want to wait. */
  stopNow(): void;
}

const SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"];

/**
 * One Ctrl-C can arrive twice: the terminal signals the whole foreground group, and npm passes its own copy on
 * (https://github.com/npm/cli/issues/5021). What follows the first signal within this time belongs to it.
 */
export const SAME_SIGNAL_MS = 500;

/**
 * @param hasTerminal Whether a standard stream is a terminal. Without one SIGHUP is ignored: Node forgets at its start that `nohup`
 * ignored the signal, but `nohup` also takes the terminal away from all three streams.
 */
export function onStopSignals(hasTerminal: boolean, handlers: StopHandlers): void {
  let firstAt: number | undefined;
  const receive = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    if (firstAt === undefined) {
      firstAt = now;
      handlers.stop(signal);
    } else if (now - firstAt > SAME_SIGNAL_MS) {
      handlers.stopNow();
    }
  };
  for (const signal of SIGNALS) {
    process.on(signal, signal === "SIGHUP" && !hasTerminal ? () => undefined : receive);
  }
}
