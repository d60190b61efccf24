/** Breaking off a response so that no client takes it for complete. */
import type { ServerResponse } from "node:http";

/**
 * HTTP/1.0 has no chunks: there the end of the connection is the end of the body, and only a reset says that something is missing.
 * nginx speaks it to the servers behind it unless configured otherwise, and breaks off too when it is reset.
 */
export function cutOff(response: ServerResponse): void {
  if (needsReset(response)) response.socket?.resetAndDestroy();
  else response.destroy();
}

export function needsReset({ req }: ServerResponse): boolean {
  return req.httpVersion === "1.0";
}
