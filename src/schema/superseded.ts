/** Which events of a request lose their worth. Browser-safe: the server's event log and the client's inbox share it. */

const SUPERSEDED: ReadonlySet<string> = new Set(["preview", "queued"]);

/** True when a newer event of this kind makes an unread older one worthless: the newest preview and position win. */
export function isSuperseded(kind: string): boolean {
  return SUPERSEDED.has(kind);
}
