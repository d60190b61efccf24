/** A1111's web API the plain way. */
import { post } from "./sse.ts";

export interface Info {
  readonly seed: number;
  readonly all_seeds: readonly number[];
  readonly width: number;
  readonly height: number;
  readonly steps: number;
  readonly sampler_name: string;
  readonly sd_model_name: string;
  readonly infotexts: readonly string[];
  readonly warnings: readonly string[];
}

export interface Images {
  readonly status: number;
  /** In base64. */
  readonly images: readonly string[];
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly info: Info;
}

export interface Progress {
  readonly progress: number;
  readonly eta_relative: number;
  readonly state: { readonly job_count: number; readonly sampling_step: number; readonly sampling_steps: number };
  readonly current_image: string | null;
}

type Headers = Readonly<Record<string, string>>;

/** Of a server, for one caller. */
export function sdapi(url: string, headers: Headers = {}) {
  const init = { headers: { "content-type": "application/json", ...headers } };
  const get = (path: string): Promise<Response> => fetch(`${url}${path}`, { headers });
  return {
    get,
    post: (path: string, body: unknown, more: RequestInit = {}): Promise<Response> =>
      post(`${url}${path}`, body, { ...init, ...more }),
    /** As most programs do, with nothing in it. */
    postNothing: (path: string): Promise<Response> => fetch(`${url}${path}`, { method: "POST", headers }),
    txt2img: async (body: object, more: RequestInit = {}): Promise<Images> =>
      readImages(await post(`${url}/sdapi/v1/txt2img`, body, { ...init, ...more })),
    img2img: async (body: object): Promise<Images> => readImages(await post(`${url}/sdapi/v1/img2img`, body, init)),
    progress: async (): Promise<Progress> => (await get("/sdapi/v1/progress")).json() as Promise<Progress>,
  };
}

async function readImages(response: Response): Promise<Images> {
  const { images, parameters, info } = (await response.json()) as { images: []; parameters: object; info: string };
  return {
    status: response.status,
    images,
    parameters: { ...parameters },
    info: info === undefined ? {} : JSON.parse(info),
  };
}
