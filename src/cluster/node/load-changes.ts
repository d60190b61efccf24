/** Tells the puller of a node that its devices have got further: each step, each job that begins or leaves. */
import type { JobObserver } from "../../jobs/observer.ts";

export class LoadChanges implements JobObserver {
  /** Called whenever the offer of this machine may have changed. */
  onChange: () => void = () => undefined;

  started(): void {
    this.onChange();
  }

  step(): void {
    this.onChange();
  }

  released(): void {
    this.onChange();
  }

  finished(): void {
    this.onChange();
  }
}
