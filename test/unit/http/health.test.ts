import Fastify from "fastify";
import { describe, expect, it } from "vitest";
import { healthRoutes } from "../../../src/http/routes/health.ts";
import { jobService } from "../../support/memory-service.ts";

describe("GET /ready", () => {
  it("says why a process whose workers are ready takes no work", async () => {
    const { jobs, worker } = await jobService();
    let problem: string | undefined = "the NATS servers do not answer";
    await using app = Fastify();
    healthRoutes(app, { jobs, loraFolder: null, problem: () => problem });
    const ready = (): Promise<{ statusCode: number; body: string }> => app.inject("/ready");

    expect(await ready()).toMatchObject({ statusCode: 503, body: expect.stringContaining("loading") });
    worker.ready();
    expect(await ready()).toMatchObject({ statusCode: 503, body: expect.stringContaining(problem) });
    problem = undefined;
    expect(await ready()).toMatchObject({ statusCode: 200, body: '{"status":"ready"}' });
    await jobs.close();
  });
});
