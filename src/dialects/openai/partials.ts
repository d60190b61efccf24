/** Which of a run's previews become the few partial images that OpenAI's API has. */

export interface PartialPlan {
  /** The engine makes a preview after the steps 0, every, 2 × every, …; */
  readonly every: number;
  /** these are shown. Steps count from 0. */
  readonly steps: readonly number[];
}

/**
 * Spread evenly over the run, the first as early as can be: it tells that something is coming. A single one comes half-way, where there is
 * something to see.
 */
export function planPartials(count: number, totalSteps: number): PartialPlan {
  if (count === 1) {
    const every = Math.max(1, Math.floor((totalSteps - 1) / 2));
    return { every, steps: [every < totalSteps - 1 ? every : 0] };
  }
  // Rounded up, the engine makes none that is not shown; with few steps that would be fewer than were asked for.
  const wide = Math.ceil(totalSteps / count);
  const every = Math.max(1, Math.ceil(totalSteps / wide) >= count ? wide : Math.floor(totalSteps / count));
  const steps = Array.from({ length: count }, (_, index) => index * every);
  return { every, steps: steps.filter((step) => step < totalSteps) };
}
