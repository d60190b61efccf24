/** Requests that are being answered right now, for calls that ask about them or end them from another connection. */
import type { Exchange } from "../dialects/dialect.ts";
import type { Job } from "../jobs/job.ts";

export interface RequestUnderWay {
  readonly caller: string;
  readonly exchange: Exchange;
  readonly job: Job;
}

/** Names of requests that are remembered after their end; the oldest is forgotten first. */
const MAX_ENDED = 1_000;

export class RequestsUnderWay {
  readonly #requests = new Set<RequestUnderWay>();
  readonly #ended = new Set<string>();

  /** @param answered Fires when its connection is done with it. */
  add(request: RequestUnderWay, answered: AbortSignal): void {
    this.#requests.add(request);
    const remove = (): void => {
      this.#requests.delete(request);
      this.#remember(request);
    };
    answered.addEventListener("abort", remove, { once: true });
    if (answered.aborted) remove();
  }

  /** That wait or run, in the order in which they came. */
  of(caller: string): RequestUnderWay[] {
    return [...this.#requests].filter((request) => request.caller === caller && request.job.ended === undefined);
  }

  /** Whether the caller had a request of that name which is over, or about to be. */
  hasEnded(caller: string, label: string): boolean {
    if (this.#ended.has(nameOf(caller, label))) return true;
    const named = [...this.#requests].filter((each) => each.caller === caller && each.exchange.label === label);
    return named.some(({ job }) => job.ended !== undefined);
  }

  #remember({ caller, exchange: { label } }: RequestUnderWay): void {
    if (label === undefined) return;
    this.#ended.add(nameOf(caller, label));
    const [oldest] = this.#ended;
    if (this.#ended.size > MAX_ENDED && oldest !== undefined) this.#ended.delete(oldest);
  }
}

function nameOf(caller: string, label: string): string {
  return JSON.stringify([caller, label]);
}
