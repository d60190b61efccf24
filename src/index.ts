/** Latentcast in this process: the orchestrator without HTTP, and the server itself. */
export { ConfigError, loadConfig, type Config } from "./config.ts";
export { LatentcastError, type ErrorCode } from "./errors.ts";
export type { FieldProblem } from "./schema/parse.ts";
export type { GenerateInput } from "./schema/input.ts";
export type { EncodedImage } from "./jobs/events.ts";
export {
  createOrchestrator,
  type CreateOrchestratorOptions,
  type InProcessOrchestrator,
  type OrchestratorInput,
} from "./in-process.ts";
export type { GenerateOptions, GeneratedResult, InProcessStream, StreamEvent } from "./in-process.ts";
export { startServer, type LatentcastServer, type StartServerOptions } from "./runtime.ts";
