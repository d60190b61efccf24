/** The realtime socket: what was sent last is drawn, and a connection that breaks is opened again. */
import { LatentcastError } from "../../client/index.ts";
import { errorOfBody } from "../../client/error.ts";
import { withAddresses } from "../../client/image-files.ts";
import { realtimeToken, serverUrl } from "../access.ts";
import { isRecord, list, number, record, text } from "../json.ts";
import { pictureBlob } from "../picture.ts";
import { toInput, type Values } from "../values.ts";

export interface LivePicture {
  readonly blob: Blob;
  readonly width: number;
  readonly height: number;
  readonly inferenceMs: number;
  readonly warnings: readonly string[];
}

export interface LineHooks {
  readonly picture: (id: number, picture: LivePicture) => void;
  readonly failed: (id: number, error: LatentcastError) => void;
  /** The connection was lost, or is there again. What was under way gets no answer. */
  readonly connected: (isUp: boolean) => void;
  /** The server wants a key, or another one. Resolves with whether there is one to try. */
  readonly refused: () => Promise<boolean>;
}

export interface InputBlobs {
  readonly image: Blob;
  readonly mask: Blob | null;
}

const PAUSES_MS = [200, 500, 1_000, 2_000, 4_000] as const;
/** An orderly end, as after a long pause: the next input opens the socket again. */
const NORMAL_CLOSURE = 1_000;

export class Line {
  readonly #hooks: LineHooks;
  #socket: WebSocket | undefined;
  #failures = 0;
  #isClosed = false;
  #isOpening = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The newest input while there is no socket to send it on. */
  #unsent: string | undefined;

  constructor(hooks: LineHooks) {
    this.#hooks = hooks;
    this.#reopen();
  }

  async send(id: number, values: Values, files: InputBlobs | undefined): Promise<void> {
    const input = { ...toInput(values), ...(files && { image_url: files.image, mask_url: files.mask }) };
    const message = { ...(await withAddresses(input)), request_id: id, mode: "cancel", preview: false };
    if (this.#isClosed) return;
    this.#unsent = JSON.stringify(message);
    if (this.#socket?.readyState === WebSocket.OPEN) this.#flush();
    else if (this.#socket === undefined && this.#timer === undefined) this.#reopen();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket?.close(NORMAL_CLOSURE);
  }

  #reopen(): void {
    this.#timer = undefined;
    if (this.#isOpening) return;
    this.#isOpening = true;
    void this.#token().then((token) => {
      this.#isOpening = false;
      if (token !== undefined && !this.#isClosed) this.#open(token);
    });
  }

  /** Undefined where there is none: no key was given, or the server was not reached, which is tried again later. */
  async #token(): Promise<string | undefined> {
    try {
      return await realtimeToken();
    } catch (error) {
      if (!(error instanceof LatentcastError)) throw error;
      if (error.code !== "unauthorized") this.#lost();
      else if (await this.#hooks.refused()) return this.#token();
      return undefined;
    }
  }

  #open(token: string): void {
    const query = new URLSearchParams({ fal_jwt_token: token });
    const socket = new WebSocket(`${serverUrl().replace(/^http/, "ws")}/realtime?${query}`);
    this.#socket = socket;
    socket.addEventListener("open", () => {
      const wasLost = this.#failures > 0;
      this.#failures = 0;
      if (!wasLost) return this.#flush();
      // Whoever asked asks again.
      this.#unsent = undefined;
      this.#hooks.connected(true);
    });
    socket.addEventListener("message", ({ data }) => void this.#read(data));
    socket.addEventListener("close", ({ code }) => {
      if (socket !== this.#socket || this.#isClosed) return;
      this.#socket = undefined;
      if (code !== NORMAL_CLOSURE) this.#lost();
    });
  }

  #lost(): void {
    if (this.#isClosed) return;
    this.#hooks.connected(false);
    const pause = PAUSES_MS[Math.min(this.#failures, PAUSES_MS.length - 1)];
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#reopen(), pause);
  }

  #flush(): void {
    if (this.#unsent !== undefined) this.#socket?.send(this.#unsent);
    this.#unsent = undefined;
  }

  /** Everything comes as text, pictures as data URIs: what is sent as text is answered so. */
  async #read(data: unknown): Promise<void> {
    const message = record(typeof data === "string" ? JSON.parse(data) : undefined);
    const id = number(message["request_id"]);
    if (text(message["type"]) === "x-fal-error") {
      this.#hooks.failed(id, errorOfBody(message, {}));
      return;
    }
    const [image] = list(message["images"]);
    if (!isRecord(image)) return;
    const [width, height] = [number(image["width"]), number(image["height"])];
    const blob = await pictureBlob({
      url: text(image["url"]),
      contentType: text(image["content_type"]),
      width,
      height,
    });
    this.#hooks.picture(id, {
      blob,
      width,
      height,
      inferenceMs: number(record(message["timings"])["inference"]) * 1_000,
      warnings: list(message["warnings"]).map(text),
    });
  }
}
