/**
 * Output that never holds up the program. Node writes to terminals synchronously, so a terminal that takes nothing (Ctrl-S, a stalled
 * ssh session) stops every answer; and a write that is stuck in a thread keeps the process from exiting. Here a terminal is opened a
 * second time without blocking, what nobody reads waits up to a limit, and the rest is dropped and counted.
 */
import { constants, openSync, write as writeFile } from "node:fs";
import { Writable } from "node:stream";
import type { WriteStream } from "node:tty";

type StandardStream = Writable & Partial<Pick<WriteStream, "isTTY" | "columns" | "rows">> & { readonly fd?: number };

export interface Output {
  readonly isTTY: boolean;
  readonly columns: number | undefined;
  readonly rows: number | undefined;
  /** Never blocks and never throws. */
  write(text: string): void;
  /** Resolves when everything is written, after the given time, or when the reader has gone. */
  flush(patienceMs: number): Promise<void>;
}

/** About ten thousand log lines. */
const LIMIT_BYTES = 2 ** 20;
/** How soon a terminal that took nothing is tried again. */
const RETRY_MS = 50;

/** @param onLost Called once when the reader has gone; later writes are dropped. */
export function openOutput(stream: StandardStream, onLost: (error: NodeJS.ErrnoException) => void): Output {
  const sink = stream.isTTY === true ? (openTerminalSink(stream) ?? stream) : stream;
  let dropped = 0;
  let isLost = false;
  sink.on("error", (error: NodeJS.ErrnoException) => {
    if (!isLost) onLost(error);
    isLost = true;
  });
  const isWaiting = (): boolean => !isLost && sink.writableLength > 0;
  return {
    isTTY: stream.isTTY === true,
    get columns() {
      return stream.columns;
    },
    get rows() {
      return stream.rows;
    },
    write: (text) => {
      if (isLost) return;
      if (sink.writableLength + text.length > LIMIT_BYTES) {
        dropped += 1;
        return;
      }
      const gap = dropped === 0 ? "" : `[${dropped} lines were dropped: nobody read this output]\n`;
      dropped = 0;
      sink.write(gap + text);
    },
    flush: async (patienceMs) => {
      const deadline = performance.now() + patienceMs;
      while (isWaiting() && performance.now() < deadline) await pause(10);
    },
  };
}

/** The terminal behind the stream, opened anew so that it does not block. Undefined where that is not allowed, as after `su`. */
function openTerminalSink({ fd }: StandardStream): Writable | undefined {
  const path = process.platform === "linux" && fd !== undefined ? `/proc/self/fd/${fd}` : "/dev/tty";
  let terminal: number;
  try {
    terminal = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return undefined;
  }
  return new Writable({ write: (chunk: Buffer, _encoding, done) => writeAll(terminal, chunk, done) });
}

function writeAll(fd: number, chunk: Buffer, done: (error?: Error | null) => void): void {
  writeFile(fd, chunk, (error, written) => {
    if (error !== null && error.code !== "EAGAIN") done(error);
    else if (error !== null) setTimeout(writeAll, RETRY_MS, fd, chunk, done).unref();
    else if (written < chunk.length) writeAll(fd, chunk.subarray(written), done);
    else done();
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
