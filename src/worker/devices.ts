/** Which devices get a worker each. */
import { queryCudaDevices } from "./nvidia.ts";

export type Device =
  | {
      readonly kind: "cpu";
      /** Set where several workers compute on the CPU: which of so many equal parts of the cores is this one's. */
      readonly share?: { readonly index: number; readonly count: number };
    }
  | {
      readonly kind: "cuda";
      /** `CUDA_VISIBLE_DEVICES` of the worker, which then sees its device as `cuda:0`. */
      readonly visible: string;
    };

/** @param wanted The `devices` setting: `["auto"]` or labels. */
export async function resolveDevices(
  wanted: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<Device[]> {
  if (wanted.includes("auto")) {
    const visible = await visibleCudaDevices(env);
    if (visible.length === 0) return [cpu];
    return visible.map((device) => ({ kind: "cuda", visible: device }));
  }
  const count = wanted.filter((label) => label === "cpu").length;
  const visible = count === wanted.length ? [] : await visibleCudaDevices(env);
  return wanted.map((label, place) => {
    if (label === "cpu") {
      // Two workers that each start a thread per core are slower than one.
      const index = wanted.slice(0, place).filter((earlier) => earlier === "cpu").length;
      return count === 1 ? cpu : { kind: "cpu", share: { index, count } };
    }
    const index = Number(label.slice("cuda:".length));
    // Not seen by the driver's tool: the worker's own attempt brings the clearer error.
    return { kind: "cuda", visible: visible[index] ?? String(index) };
  });
}

const cpu: Device = { kind: "cpu" };

async function visibleCudaDevices(env: Readonly<Record<string, string | undefined>>): Promise<string[]> {
  const present = (await queryCudaDevices(env)).map(({ index }) => index);
  const allowed = env["CUDA_VISIBLE_DEVICES"];
  if (allowed === undefined || present.length === 0) return present;
  return allowed
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "" && entry !== "-1");
}
