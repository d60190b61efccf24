/** OpenAI's own client, with what a test wants to see of it. */
import OpenAI, { APIError, toFile, type ClientOptions } from "openai";

/** Stable Diffusion's fields go beside the standard ones; the client's types do not know them. */
export type Asked = OpenAI.Images.ImageGenerateParamsNonStreaming & Readonly<Record<string, unknown>>;
export type AskedStream = OpenAI.Images.ImageGenerateParamsStreaming & Readonly<Record<string, unknown>>;

export interface Made {
  readonly b64_json?: string;
  readonly url?: string;
  readonly seed: number;
}

export interface Attempts {
  readonly client: OpenAI;
  /** The status of each answer, "failed" for a request that got none. */
  readonly statuses: (number | "failed")[];
}

export function openai(url: string, options: ClientOptions = {}): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", ...options });
}

/** A client whose every attempt is counted. */
export function counted(url: string, options: ClientOptions = {}): Attempts {
  const statuses: (number | "failed")[] = [];
  const client = openai(url, {
    ...options,
    fetch: async (input, init) => {
      // Before its first form the client looks what `fetch` makes of one.
      if (input === "data:,") return fetch(input, init);
      const response = await fetch(input, init).catch((error: unknown) => {
        statuses.push("failed");
        throw error;
      });
      statuses.push(response.status);
      return response;
    },
  });
  return { client, statuses };
}

/** A client to which the network brings one byte at a time. */
export function cutAtEveryByte(url: string): OpenAI {
  return openai(url, {
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      const cut = new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          for (const byte of chunk) controller.enqueue(Uint8Array.of(byte));
        },
      });
      return new Response(response.body?.pipeThrough(cut) ?? null, response);
    },
  });
}

/** What an edit takes beside the standard fields, as `Asked` has it. */
export type AskedEdit = OpenAI.Images.ImageEditParamsNonStreaming & Readonly<Record<string, unknown>>;

/** A file as programs send it. */
export function png(bytes: Buffer, name = "image.png"): Promise<File> {
  return toFile(bytes, name, { type: "image/png" });
}

export async function edited(client: OpenAI, asked: AskedEdit): Promise<Made[]> {
  const { data } = await client.images.edit(asked);
  // The seed is ours; the client passes it through.
  return (data ?? []) as Made[];
}

export type EditEvent = OpenAI.Images.ImageEditStreamEvent & { readonly seed: number };

export async function streamedEdit(client: OpenAI, asked: AskedEdit): Promise<EditEvent[]> {
  const events: EditEvent[] = [];
  // The extra fields are ours.
  const params = { ...asked, stream: true } as OpenAI.Images.ImageEditParamsStreaming;
  for await (const event of await client.images.edit(params)) events.push(event as EditEvent);
  return events;
}

export async function made(client: OpenAI, asked: Asked): Promise<Made[]> {
  const { data } = await client.images.generate(asked);
  // The seed is ours; the client passes it through.
  return (data ?? []) as Made[];
}

export type ImageEvent = OpenAI.Images.ImageGenStreamEvent & { readonly seed: number; readonly image_index: number };

export async function streamed(client: OpenAI, asked: Omit<AskedStream, "stream">): Promise<ImageEvent[]> {
  const events: ImageEvent[] = [];
  // The extra fields are ours.
  for await (const event of await client.images.generate({ ...asked, stream: true } as AskedStream))
    events.push(event as ImageEvent);
  return events;
}

/** What a call was rejected with; fails for one that was not, and for what is no error of the client's own. */
export async function rejection(call: Promise<unknown>): Promise<APIError> {
  const reason = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(reason instanceof APIError)) throw new Error("no APIError", { cause: reason });
  return reason;
}
