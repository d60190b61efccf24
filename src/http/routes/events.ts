/** The events of one request, named, for any browser's `EventSource`: it reconnects with `Last-Event-ID`. */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { LatentcastError } from "../../errors.ts";
import type { RequestQueue } from "../../requests/request-queue.ts";
import { encodeEvents } from "../encode-events.ts";
import { documented } from "../documented.ts";
import { eventsOperation } from "../operations/queue.ts";
import { refOf } from "../request-owner.ts";
import { sendEvents } from "../sse.ts";

interface Events {
  Params: { id: string };
  Querystring: { last_event_id?: string; lastEventId?: string };
}

export function eventRoutes(app: FastifyInstance, requests: RequestQueue): void {
  app.get("/requests/:id/events", documented(eventsOperation), async (request: FastifyRequest<Events>, reply) => {
    const { id } = request.params;
    const { headers, query } = request;
    // Stand-ins for EventSource cannot set headers; they say `lastEventId`.
    const lastEventId = headers["last-event-id"]?.toString() ?? query.last_event_id ?? query.lastEventId;
    const gone = new AbortController();
    reply.raw.once("close", () => gone.abort());
    const events = await requests.events(refOf(request, id), lastEventId, gone.signal);
    if (events === undefined)
      throw new LatentcastError("not_found", { message: "There is no such request, or it has expired." });
    reply.header("x-fal-request-id", id);
    // An EventSource comes back after every end; 204 stops it.
    if (events === null) return reply.code(204).send();
    return sendEvents(reply, encodeEvents(events));
  });
}
