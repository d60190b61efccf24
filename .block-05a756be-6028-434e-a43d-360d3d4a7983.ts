globalThis.show = () => undefined;
import { createOrchestrator } from "latentcast";

const orchestrator = await createOrchestrator();
const { image } = await orchestrator.generate({ prompt: "a beautiful sunset" });
await orchestrator.close();
