/** `latentcast/client`: everything a program needs that talks to a Latentcast server. No Node, no dependencies but a parser. */
export { createClient } from "./client.ts";
export type { CallOptions, ClientOptions, ClientSubmitOptions as SubmitOptions, LatentcastClient } from "./client.ts";
export { ClientError as LatentcastError, type ClientErrorCode } from "./error.ts";
export type { Fetch } from "./connection.ts";
export type {
  RealtimeConnection,
  RealtimeEvent,
  RealtimeInput,
  RealtimeOptions,
  WebSocketClass,
  WebSocketLike,
} from "./realtime-types.ts";
export type { GenerateStream } from "./stream.ts";
export type {
  ClientCancelOutcome as CancelOutcome,
  ClientEvent as StreamEvent,
  ClientImage as Picture,
  ClientLogLine as LogLine,
  ClientRequestStatus as RequestStatus,
  ClientResult as GeneratedResult,
} from "./types.ts";
export type { FieldProblem } from "../schema/parse.ts";
export type { ClientInput as GenerateInput, ImageFile } from "./image-files.ts";
