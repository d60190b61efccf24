import { describe, expect, it } from "vitest";
import { chooseSampler, listSamplers, nameOf } from "../../../../src/dialects/a1111/samplers.ts";
import { SCHEDULERS } from "../../../../src/protocol/params.ts";

describe("a sampler", () => {
  it.each(SCHEDULERS)("of ours, %s, has a name that means it", (ours) => {
    const { sampler, schedule } = nameOf(ours);
    expect(chooseSampler(sampler, schedule)).toEqual({ scheduler: ours, warnings: [] });
    expect(chooseSampler(`${sampler} ${schedule}`, undefined)).toEqual({ scheduler: ours, warnings: [] });
  });

  it.each(listSamplers())("$name that is listed is served by it and by its aliases", ({ name, aliases }) => {
    const { scheduler } = chooseSampler(name, "automatic");
    expect(scheduler).toBeDefined();
    for (const alias of aliases) expect(chooseSampler(alias, undefined)).toEqual({ scheduler, warnings: [] });
  });

  it.each([
    ["LMS Karras", "euler"],
    ["Heun", "euler"],
    ["DPM2", "euler"],
    ["DPM2 a Karras", "euler_a"],
    ["DPM++ 2S a Karras", "euler_a"],
    ["DPM++ SDE", "dpmpp_2m_karras"],
    ["DPM++ 2M SDE Exponential", "dpmpp_2m_karras"],
    ["DPM++ 3M SDE", "dpmpp_2m_karras"],
    ["DPM adaptive", "dpmpp_2m_karras"],
    ["PLMS", "ddim"],
    ["DDIM CFG++", "ddim"],
    ["IPNDM", "unipc"],
    ["Restart", "euler"],
  ])("that is not served, %s, is replaced by %s, and the text names it", (name, scheduler) => {
    const chosen = chooseSampler(name, undefined);
    expect(chosen.scheduler).toBe(scheduler);
    expect(chosen.warnings[0]).toContain(name);
  });

  it.each([undefined, "", " "])("that is named %j is the model's own", (name) => {
    expect(chooseSampler(name, "Automatic")).toEqual({ scheduler: undefined, warnings: [] });
  });
});
