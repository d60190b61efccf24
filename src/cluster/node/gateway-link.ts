/** What a node asks gateways, and when it takes one for dead. */
import type { z } from "zod";
import { pause } from "../../async/timer.ts";
import { NoResponders, type Bus, type BusMessage, type Header } from "../bus.ts";
import type { Layout } from "../layout.ts";
import { verdict, WIRE_VERSION, type inputQuestion, type JobMessage } from "../wire.ts";

/** Nobody listens any more where the gateway did: its clients are gone. */
export class GatewayGone extends Error {
  override readonly name = "GatewayGone";
}

/** It did not answer in time. It may be alive. */
export class GatewaySilent extends Error {
  override readonly name = "GatewaySilent";
}

export type Verdict = z.infer<typeof verdict>;

const ANSWER_MS = 2_000;
const TRIES = 3;
/** Who listens is known to all servers only after a moment, so one that nobody hears is asked a second time. */
const SECOND_LOOK_MS = 500;

export class GatewayLink {
  readonly #bus: Bus;
  readonly #layout: Layout;

  constructor(bus: Bus, layout: Layout) {
    this.#bus = bus;
    this.#layout = layout;
  }

  /** Says something that must arrive. Rejects with {@link GatewayGone} or {@link GatewaySilent}. */
  async ask(gateway: string, message: JobMessage, payload?: Buffer): Promise<Verdict> {
    const subject = this.#layout.toGateway(gateway, message.id);
    const answer = await this.#request(subject, message, payload);
    const parsed = verdict.safeParse(answer.header);
    if (!parsed.success) throw new GatewaySilent(`${gateway} answers in an unknown way`);
    return parsed.data;
  }

  /** Says something that may be lost. */
  tell(gateway: string, message: JobMessage, payload?: Buffer): void {
    this.#bus.publish(this.#layout.toGateway(gateway, message.id), message, payload);
  }

  /** The bytes of the input images of a job. Undefined when the gateway has them no more. Rejects like {@link ask}. */
  async inputs(gateway: string, id: string, length: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    const step = Math.floor(this.#bus.maxPayload / 2);
    for (let from = 0; from < length; from += step) {
      const question: z.infer<typeof inputQuestion> = {
        v: WIRE_VERSION,
        id,
        from,
        length: Math.min(step, length - from),
      };
      const { payload } = await this.#request(this.#layout.inputsOf(gateway), question);
      if (payload.byteLength !== question.length) return undefined;
      parts.push(payload);
    }
    return Buffer.concat(parts);
  }

  async #request(subject: string, header: Header, payload?: Buffer): Promise<BusMessage> {
    let unheard = 0;
    for (let tries = 0; tries < TRIES;) {
      try {
        return await this.#bus.request(subject, header, {
          timeoutMs: ANSWER_MS,
          ...(payload === undefined ? {} : { payload }),
        });
      } catch (error) {
        if (error instanceof NoResponders) {
          unheard += 1;
          if (unheard > 1) throw new GatewayGone(subject);
          await pause(SECOND_LOOK_MS, new AbortController().signal);
        } else {
          tries += 1;
        }
      }
    }
    throw new GatewaySilent(subject);
  }
}
