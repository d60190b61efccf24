/** The one ZeroMQ socket of the orchestrator: a ROUTER on an ipc:// path that only this user can reach. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Router } from "zeromq";
import { decodeReport, encodeCommand, type ReportFrames } from "../protocol/frames.ts";
import type { Command } from "../protocol/messages.ts";
import { makeSocketFolderIn, SOCKET_NAME, temporaryFolders } from "./socket-folders.ts";
import { SerialQueue } from "./serial-queue.ts";

/** What the pool needs of a wire. Unit tests put an in-memory pair here. */
export interface Transport {
  /** What workers connect to. */
  readonly endpoint: string;
  /** Begins to hand on what workers send; until then it waits in the socket. To be called once. */
  start(handlers: TransportHandlers): void;
  /** Rejects when the worker is unknown or the socket is closed. */
  send(identity: string, command: Command, payload?: readonly Buffer[]): Promise<void>;
  close(): Promise<void>;
}

export interface TransportHandlers {
  report(identity: string, frames: ReportFrames): void;
  /** Bytes that are no message; `error` says why. */
  garbage(identity: string, error: unknown): void;
}

/** A local peer takes a command in microseconds; half a second without room means that it is gone. */
const SEND_TIMEOUT_MS = 500;

/** Binds a fresh socket. Its directory is for this user alone, and removed by `close`. */
export async function openTransport(): Promise<Transport> {
  const directory = await makeSocketFolderIn(temporaryFolders());
  const endpoint = `ipc://${join(directory, SOCKET_NAME)}`;
  // Without sendTimeout a send to an unknown identity never settles; with linger the process could not exit.
  const socket = new Router({ mandatory: true, linger: 0, sendTimeout: SEND_TIMEOUT_MS });
  try {
    await socket.bind(endpoint);
  } catch (error) {
    socket.close();
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
  const sends = new SerialQueue();
  let received: Promise<void> | undefined;
  return {
    endpoint,
    start: (handlers) => {
      received = receive(socket, handlers);
    },
    send: (identity, command, payload) => sends.run(() => socket.send([identity, ...encodeCommand(command, payload)])),
    close: async () => {
      sends.close(new Error("transport closed"));
      socket.close();
      await received;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function receive(socket: Router, handlers: TransportHandlers): Promise<void> {
  for await (const [identity, ...frames] of socket) {
    const name = identity?.toString("utf8") ?? "";
    let message: ReportFrames;
    try {
      message = decodeReport(frames);
    } catch (error) {
      handlers.garbage(name, error);
      continue;
    }
    handlers.report(name, message);
  }
}
