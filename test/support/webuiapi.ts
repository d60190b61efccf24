/** `webuiapi`, the Python client for A1111's web API, as it comes from PyPI. */
import type { Info } from "./a1111.ts";
import { PythonClient } from "./python-client.ts";
import type { TestServer } from "./server.ts";

/** An answer, and the images in it. */
interface Told {
  readonly sizes: readonly number[][];
  readonly formats: readonly string[];
  readonly images: readonly string[];
  readonly info: Info;
  readonly parameters: object;
}

/** Left and right. */
type Corners = readonly [readonly number[], readonly number[]];

/** What each check of `webuiapi_checks.py` returns. */
export interface SeenByWebuiapi {
  readonly txt2img: Told;
  readonly batch: Told;
  readonly img2img: { readonly whole: Told; readonly masked: Corners; readonly inverted: Corners };
  readonly lists: Readonly<Record<string, unknown>>;
  readonly model: Readonly<Record<"name" | "before" | "after", string>>;
  readonly progress: {
    readonly interrupt: unknown;
    readonly skip: unknown;
    readonly shown: unknown;
    readonly progress: readonly [number, number];
    readonly interrupted: Told;
  };
  readonly refused: unknown;
}

export class Webuiapi implements AsyncDisposable {
  readonly #client = new PythonClient<SeenByWebuiapi>("webuiapi_checks.py");

  /** What these checks saw of the server. */
  see(
    { url }: TestServer,
    names: readonly (keyof SeenByWebuiapi)[],
    env: { readonly PASSWORD?: string } = {},
  ): Promise<SeenByWebuiapi> {
    return this.#client.see(names, { LATENTCAST_URL: url, ...env });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#client[Symbol.asyncDispose]();
  }
}
