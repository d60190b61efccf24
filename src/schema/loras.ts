/** What `GET /loras` answers. Browser-safe. */
import { z } from "zod";

export const listedLora = z.looseObject({
  path: z.string().describe("What requests name it by, in `loras` and in `<lora:path:scale>`."),
  size_bytes: z.int().describe("Of its file."),
});

export const loraList = z.object({ loras: z.array(listedLora).describe("By name; empty for a server without LoRAs.") });

export type ListedLora = z.infer<typeof listedLora>;
export type LoraList = z.infer<typeof loraList>;
