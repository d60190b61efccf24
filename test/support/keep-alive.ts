/** For `vi.mock` of src/http/sse.ts: pauses between bytes that a test need not wait 15 seconds for. */
type SseModule = typeof import("../../src/http/sse.ts");

export function withKeepAlive(original: SseModule, keepAliveMs: number): SseModule {
  return { ...original, sendEvents: (reply, frames) => original.sendEvents(reply, frames, { keepAliveMs }) };
}
