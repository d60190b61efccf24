/** Which devices get a worker each. */
import { queryCudaDevices } from "./nvidia.ts";

export type Device =
  | {
      readonly kind: "cpu";
      /** Set where several workers compute on the CPU: which of so many equal parts of the cores is this one's. */
      readonly share?: { readonly index: number; readonly count: number };
    }
  | {
      /** NVIDIA's, AMD's and Intel's. */
      readonly kind: "cuda" | "rocm" | "xpu";
      /** Its driver's number: the worker sees this device alone, as the first of its kind. */
      readonly visible: string;
    }
  | {
      /** Apple's: a machine has one. */
      readonly kind: "mps";
    };

/**
 * `auto` takes what this project is measured on, CUDA devices or else the CPU; whoever has another names it.
 * @param wanted The `devices` setting: `["auto"]` or labels.
 */
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
  const visible = wanted.some((label) => label.startsWith("cuda:")) ? await visibleCudaDevices(env) : [];
  return wanted.map((label, place) => {
    if (label === "cpu") {
      // Two workers that each start a thread per core are slower than one.
      const index = wanted.slice(0, place).filter((earlier) => earlier === "cpu").length;
      return count === 1 ? cpu : { kind: "cpu", share: { index, count } };
    }
    if (label === "mps") return { kind: "mps" };
    const [kind, index = "0"] = label.split(":");
    if (kind === "rocm" || kind === "xpu") return { kind, visible: index };
    // Not seen by the driver's tool: the worker's own attempt brings the clearer error.
    return { kind: "cuda", visible: visible[Number(index)] ?? index };
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
