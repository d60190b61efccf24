/** `GET /loras`: the LoRAs that requests may name. */
import type { FastifyInstance } from "fastify";
import type { LoraList } from "../../schema/loras.ts";
import { documented } from "../documented.ts";
import { listLoras } from "../lora-folder.ts";
import { lorasOperation } from "../operations/service.ts";

export function loraRoutes(app: FastifyInstance, folder: string | null): void {
  app.get("/loras", documented(lorasOperation), async (): Promise<LoraList> => ({ loras: await listLoras(folder) }));
}
