/** `latentcast/client`: everything a program needs that talks to a Latentcast server. No Node, no dependencies but a parser. */
export { createClient } from "./client.ts";
export type { CallOptions, ClientOptions, LatentcastClient, SubmitOptions } from "./client.ts";
export { LatentcastError, type ClientErrorCode } from "./error.ts";
export type { Fetch } from "./connection.ts";
export type { GenerateStream } from "./stream.ts";
export type { CancelOutcome, GeneratedResult, LogLine, Picture, RequestStatus, StreamEvent } from "./types.ts";
export type { FieldProblem } from "../errors.ts";
export type { GenerateInput } from "../schema/input.ts";
