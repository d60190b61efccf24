/** What a realtime connection takes and gives. */
import type { previewOptions } from "../schema/input.ts";
import type { ClientError } from "./error.ts";
import type { ClientInput } from "./image-files.ts";
import type { ClientImage, ClientResult } from "./types.ts";

/** The fields of a direct request. Previews come only where they are asked for. */
export type RealtimeInput = Omit<ClientInput, "preview" | "sync_mode"> & {
  readonly preview?: boolean | (typeof previewOptions)["_zod"]["input"] | undefined;
};

export type RealtimeEvent =
  | {
      readonly kind: "preview";
      readonly requestId: string;
      /** Counts from 0. */
      readonly step: number;
      readonly totalSteps: number;
      /** The only image, or the first of several. */
      readonly image: ClientImage;
      readonly images: readonly ClientImage[];
    }
  | { readonly kind: "result"; readonly requestId: string; readonly result: ClientResult }
  /** A newer input took the place of this one: no result will come. */
  | { readonly kind: "superseded"; readonly requestId: string }
  /** This input failed; the connection goes on. */
  | { readonly kind: "error"; readonly requestId: string; readonly error: ClientError };

export interface RealtimeOptions {
  /**
   * What a new input does to the one that is drawn: it is finished first (`finish`, the default), or cancelled at its next step. No
   * two are cancelled in a row without an image in between.
   */
  readonly mode?: "finish" | "cancel";
  /** Ends the connection. */
  readonly signal?: AbortSignal;
}

/** One connection for input after input, of which the latest is drawn. Opened with the first input. */
export interface RealtimeConnection extends AsyncIterable<RealtimeEvent>, Disposable {
  /** @returns The id that every event about this input repeats. */
  send(input: RealtimeInput): string;
  /** What is drawn stops at its next step. Loops over the events end. */
  close(): void;
}

/** What is used of a WebSocket, of browsers or of the package `ws`. */
export interface WebSocketLike {
  send(data: string): void;
  close(code?: number): void;
  addEventListener(type: "open" | "message" | "close" | "error", listener: (event: object) => void): void;
}

export type WebSocketClass = new (url: string) => WebSocketLike;
