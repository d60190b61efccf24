/** One request from the page: its pictures, where it is, how it ended. */
import {
  LatentcastError,
  type GeneratedResult,
  type GenerateInput,
  type Picture,
  type StreamEvent,
} from "../client/index.ts";
import { openClient } from "./access.ts";
import { pictureBlob } from "./picture.ts";
import { Plate } from "./plate.ts";
import { valuesOfPicture, type Values } from "./values.ts";

export type RunState =
  /** On its way to the server, which takes it once its model is loaded. */
  | { readonly kind: "sent" }
  | { readonly kind: "queued"; readonly position: number; readonly estimateMs: number | null }
  | { readonly kind: "running"; readonly step: number | null; readonly totalSteps: number | null }
  | { readonly kind: "succeeded"; readonly result: GeneratedResult }
  | { readonly kind: "stopped"; readonly step: number | null }
  | { readonly kind: "failed"; readonly error: LatentcastError };

export class Run {
  readonly values: Values;
  readonly plates: readonly Plate[];
  state: RunState = { kind: "sent" };
  /** False while the connection is broken and the client tries to take it up again. */
  isConnected = true;
  /** From sending the request to the first preview in the page. */
  firstPreviewMs: number | null = null;
  readonly #tell: () => void;
  readonly #abort = new AbortController();

  readonly #toRequest: (values: Values) => Promise<GenerateInput>;

  /** @param toRequest What is sent for the values. @param tell Called after every change. */
  constructor(values: Values, toRequest: (values: Values) => Promise<GenerateInput>, tell: () => void) {
    this.values = values;
    this.#toRequest = toRequest;
    this.#tell = tell;
    const count = Math.max(1, Number(values.num_images) || 1);
    this.plates = Array.from({ length: count }, (_, index) => new Plate(valuesOfPicture(values, index)));
  }

  get isOver(): boolean {
    return this.state.kind === "succeeded" || this.state.kind === "stopped" || this.state.kind === "failed";
  }

  /** 0 to 1. */
  get progress(): number {
    if (this.state.kind === "succeeded") return 1;
    if (this.state.kind !== "running" || this.state.step === null || this.state.totalSteps === null) return 0;
    return (this.state.step + 1) / (this.state.totalSteps + 1);
  }

  /** Ends the request, at the server too. */
  stop(): void {
    this.#abort.abort();
  }

  /** Resolves when the run is over, however it ended. */
  async start(): Promise<void> {
    const sentAt = performance.now();
    const client = openClient((isUp) => this.#connected(isUp));
    try {
      const stream = client.stream(await this.#toRequest(this.values), { signal: this.#abort.signal });
      for await (const event of stream) {
        if (event.kind === "preview") this.firstPreviewMs ??= performance.now() - sentAt;
        await this.#follow(event);
      }
      await this.#finish(await stream.result());
    } catch (error) {
      if (!(error instanceof LatentcastError)) throw error;
      this.#enter(error.code === "cancelled" ? { kind: "stopped", step: this.#step } : { kind: "failed", error });
    }
  }

  get #step(): number | null {
    return this.state.kind === "running" ? this.state.step : null;
  }

  async #follow(event: StreamEvent): Promise<void> {
    switch (event.kind) {
      case "queued":
        this.#enter({ kind: "queued", position: event.position, estimateMs: event.estimateMs });
        return;
      case "started":
        this.#enter({ kind: "running", step: null, totalSteps: null });
        return;
      case "progress":
        this.#enter({ kind: "running", step: event.step, totalSteps: event.totalSteps });
        return;
      case "preview": {
        const { step, totalSteps } = event;
        const position = (step + 1) / (totalSteps + 1);
        await this.#add(event.images, position, `step ${step + 1} of ${totalSteps}`);
        this.#enter({ kind: "running", step: Math.max(step, this.#step ?? 0), totalSteps });
      }
    }
  }

  async #finish(result: GeneratedResult): Promise<void> {
    await this.#add(result.images, 1, "finished");
    this.#enter({ kind: "succeeded", result });
  }

  async #add(images: readonly Picture[], position: number, label: string): Promise<void> {
    const blobs = await Promise.all(images.map(pictureBlob));
    for (const [index, { width, height }] of images.entries()) {
      const blob = blobs[index];
      if (blob !== undefined) this.plates[index]?.add({ blob, position, label, width, height });
    }
  }

  #enter(state: RunState): void {
    this.state = state;
    this.#tell();
  }

  #connected(isUp: boolean): void {
    if (this.isConnected === isUp || this.isOver) return;
    this.isConnected = isUp;
    this.#tell();
  }
}
