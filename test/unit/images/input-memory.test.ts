import { describe, expect, it } from "vitest";
import { InputMemory } from "../../../src/images/input-memory.ts";

describe("the memory of input images", () => {
  it("is full when all requests together would hold more than the limit", () => {
    const memory = new InputMemory(100);
    memory.open().claim(60);
    expect(() => memory.open().claim(41)).toThrow(/fill the memory/);
    memory.open().claim(40);
    expect(memory.heldBytes).toBe(100);
  });

  it("refuses as a full queue does, and says when to come back", () => {
    const memory = new InputMemory(1);
    memory.open().claim(1);
    expect(() => memory.open().claim(1)).toThrow(
      expect.objectContaining({ code: "queue_full", status: 429, retryAfterSeconds: expect.any(Number) }),
    );
  });

  it("has room again for what was given back, and for what became smaller", () => {
    const memory = new InputMemory(100);
    const first = memory.open();
    first.claim(100);
    first.settle(30);
    const second = memory.open();
    second.claim(70);
    first.settle(0);
    first.settle(0);
    expect(memory.heldBytes).toBe(70);
    second.claim(100);
    expect(memory.heldBytes).toBe(100);
  });

  it("always has room for one request alone", () => {
    const memory = new InputMemory(100);
    const alone = memory.open();
    alone.claim(50);
    alone.claim(1_000);
    expect(() => memory.open().claim(1)).toThrow(/fill the memory/);
  });

  it("keeps what it holds when more is refused", () => {
    const memory = new InputMemory(100);
    memory.open().claim(50);
    const second = memory.open();
    second.claim(40);
    expect(() => second.claim(60)).toThrow(/fill the memory/);
    expect(memory.heldBytes).toBe(90);
  });

  it("counts what an accepted request turned out to hold, whatever the limit", () => {
    const memory = new InputMemory(100);
    const first = memory.open();
    first.claim(90);
    memory.open().claim(10);
    first.settle(95);
    expect(memory.heldBytes).toBe(105);
  });

  it("takes what was accepted before, whatever the limit", () => {
    const memory = new InputMemory(100);
    memory.open().claim(100);
    memory.open({ isKnown: true }).claim(100);
    expect(memory.heldBytes).toBe(200);
  });
});
