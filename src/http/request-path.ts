/** One address for each queued request: clients put the queue's prefix and the model's name, with or without sub path, before it. */

const REQUEST_PATH = /^\/[^?]*?(\/requests\/[^?]*)$/;

/** `/queue/owner/alias/requests/id/status?logs=1` to `/requests/id/status?logs=1`; anything else as it is. */
export function shortRequestUrl(url: string): string {
  const at = url.indexOf("?");
  const path = at < 0 ? url : url.slice(0, at);
  const short = REQUEST_PATH.exec(path)?.[1];
  return short === undefined ? url : short + (at < 0 ? "" : url.slice(at));
}
