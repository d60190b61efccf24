/**
 * Who may hold a connection for events. A browser opens six connections to a server over HTTP/1.1, for all its tabs together. Event
 * streams that last as long as an image would soon hold all of them, and neither a request nor another page would get through. So all
 * pages of an origin share four places: a stream that has had its turn gives its place up while others wait, and goes on later
 * where it stopped.
 */

export interface Turn {
  /** Fires when somebody else should have the connection. */
  readonly over: AbortSignal;
  /** Gives the place back. */
  end(): void;
}

export interface Turns {
  /** Resolves with a place, or with undefined when `signal` fires first. */
  take(signal: AbortSignal): Promise<Turn | undefined>;
}

/** Two of six are left for everything else. */
const PLACES = 4;

/** Short enough to show an image form in turns, long against the time it takes to connect again. */
const TURN_MS = 1_000;

/** The same without a way to see whether others wait: the connection is taken up again each time. */
const BLIND_TURN_MS = 3_000;

/** @param server Its address; pages of other origins that use it have connections of their own. */
export function turnsFor(server: string): Turns {
  if (!("document" in globalThis)) return unlimited;
  // Pages that came over plain HTTP from another machine have no locks.
  const { locks } = navigator;
  const shared = locks === undefined ? blindTurns : lockedTurns(locks, `latentcast ${server}`);
  return { take: (signal) => (isMultiplexed(server) ? unlimited : shared).take(signal) };
}

const unlimited: Turns = {
  take: ({ aborted }) =>
    Promise.resolve(aborted ? undefined : { over: new AbortController().signal, end: () => undefined }),
};

const blindTurns: Turns = {
  take: ({ aborted }) => Promise.resolve(aborted ? undefined : startTurn(BLIND_TURN_MS, () => Promise.resolve(true))),
};

function lockedTurns(locks: LockManager, name: string): Turns {
  const isWanted = async (): Promise<boolean> => {
    const { pending = [] } = await locks.query();
    return pending.some((lock) => lock.name?.startsWith(name));
  };
  return {
    take: async (signal) => {
      const release = await holdOneOf(
        locks,
        Array.from({ length: PLACES }, (_, place) => `${name} ${place}`),
        signal,
      );
      return release && startTurn(TURN_MS, isWanted, release);
    },
  };
}

/** @param isWanted Asked every `ms`; the turn is over once it says yes. */
function startTurn(ms: number, isWanted: () => Promise<boolean>, release: () => void = () => undefined): Turn {
  const over = new AbortController();
  const timer = setInterval(() => {
    isWanted().then(
      (wanted) => wanted && over.abort(),
      () => undefined,
    );
  }, ms);
  return {
    over: over.signal,
    end: () => {
      clearInterval(timer);
      release();
    },
  };
}

/** Waits for all of the locks and keeps the first. Resolves with what releases it. */
function holdOneOf(
  locks: LockManager,
  names: readonly string[],
  signal: AbortSignal,
): Promise<(() => void) | undefined> {
  return new Promise((resolve) => {
    const settled = new AbortController();
    const give = (): void => {
      settled.abort();
      resolve(undefined);
    };
    signal.addEventListener("abort", give, { once: true });
    if (signal.aborted) return give();
    for (const name of names) {
      const held = locks.request(name, { signal: settled.signal }, () => {
        // Another one was faster, in the same moment.
        if (settled.signal.aborted) return undefined;
        settled.abort();
        signal.removeEventListener("abort", give);
        return new Promise<void>((release) => resolve(release));
      });
      // The requests for the other locks are aborted.
      held.catch(() => undefined);
    }
  });
}

/** Whether one connection carries everything, as the browser has seen it. HTTP/2 takes a hundred streams. */
function isMultiplexed(server: string): boolean {
  const { href } = new URL(server, document.baseURI);
  const seen = ["navigation", "resource"].flatMap((type) => performance.getEntriesByType(type));
  return seen.some(
    (entry) =>
      entry.name.startsWith(href) && "nextHopProtocol" in entry && /^h[23]/.test(String(entry.nextHopProtocol)),
  );
}
