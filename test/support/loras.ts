/** LoRA files for the tiny random model, written byte by byte. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

const RANK = 2;
/** Of the model's last layer: what it adds is seen in every image. */
const LAYER = { name: "lora_unet_conv_out", out: 4, into: 32, kernel: 3 };

interface FileTensor {
  readonly shape: readonly number[];
  readonly value: (index: number) => number;
}

/** A LoRA whose values follow from `seed`. Returns its path. */
export async function writeLora(folder: string, name: string, seed = 1): Promise<string> {
  const value = (index: number): number => Math.sin(index * 1.7 + seed) / 8;
  return writeTensors(folder, name, {
    [`${LAYER.name}.lora_down.weight`]: { shape: [RANK, LAYER.into, LAYER.kernel, LAYER.kernel], value },
    [`${LAYER.name}.lora_up.weight`]: { shape: [LAYER.out, RANK, 1, 1], value },
    [`${LAYER.name}.alpha`]: { shape: [], value: () => RANK },
  });
}

/** A `.safetensors` file of fp32 tensors. */
export async function writeTensors(
  folder: string,
  name: string,
  tensors: Readonly<Record<string, FileTensor>>,
): Promise<string> {
  let end = 0;
  const header: Record<string, object> = {};
  const chunks: Buffer[] = [];
  for (const [key, { shape, value }] of Object.entries(tensors)) {
    const numbers = Float32Array.from({ length: shape.reduce((product, side) => product * side, 1) }, (_, index) =>
      value(index),
    );
    chunks.push(Buffer.from(numbers.buffer));
    header[key] = { dtype: "F32", shape, data_offsets: [end, end + numbers.byteLength] };
    end += numbers.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.byteLength));
  const path = join(folder, `${name}.safetensors`);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, Buffer.concat([length, text, ...chunks]));
  return path;
}
