/** Settings of a server that is one of several; part of the table in settings.ts. */
import { resolve } from "node:path";
import { z } from "zod";
import { commaList, trimmed, whole } from "./values.ts";
import { setting } from "./setting.ts";

const optionalFile = z.string().transform((value) => (value === "" ? null : resolve(value)));
/** Part of subjects, streams and consumers. */
const name = trimmed.regex(/^[a-z0-9_-]{1,32}$/, "use up to 32 of a-z, 0-9, _ and -");

export const CLUSTER_SETTINGS = {
  natsUrls: setting<string[]>({
    env: ["LATENTCAST_NATS_URL"],
    flag: "nats",
    default: "",
    defaultText: "none: this process serves alone",
    value: commaList.refine(
      (urls) => urls.every(isNatsUrl),
      "use nats://host:port or tls://host:port, comma-separated",
    ),
    help: "NATS servers of a fleet (2.12 or newer, with JetStream), comma-separated, such as `nats://a:4222,nats://b:4222`.",
  }),
  role: setting<"all" | "gateway" | "node">({
    env: ["LATENTCAST_ROLE"],
    flag: "role",
    default: "all",
    value: trimmed.pipe(z.enum(["all", "gateway", "node"])),
    help: "With NATS: `gateway` serves clients and needs neither Python nor a GPU, `node` draws for all gateways, `all` does both.",
  }),
  pool: setting<string>({
    env: ["LATENTCAST_POOL"],
    flag: "pool",
    default: "default",
    value: name,
    help: "With NATS: nodes of one pool have one model and the same settings. A gateway serves every pool; this one draws what names no model.",
  }),
  nodeName: setting<string | null>({
    env: ["LATENTCAST_NODE_NAME"],
    default: "",
    defaultText: "the host's name with a random end",
    value: trimmed.transform((value) => (value === "" ? null : value)),
    help: "Names this node in the fleet. Only one process may have it at a time; one that keeps its name over restarts is missed for a shorter time.",
  }),
  nodeSlots: setting<number>({
    env: ["LATENTCAST_NODE_SLOTS"],
    default: "32",
    value: whole(1, 1_024),
    help: "Jobs that a device of the fastest kind in the pool holds at most; slower ones hold fewer.",
  }),
  natsCreds: setting<string | null>({
    env: ["LATENTCAST_NATS_CREDS"],
    default: "",
    defaultText: "none",
    value: optionalFile,
    help: "Credentials file for NATS: a JWT and its key as `nsc` makes them, or the seed of a user's nkey alone.",
  }),
  natsCa: setting<string | null>({
    env: ["LATENTCAST_NATS_CA"],
    default: "",
    defaultText: "the system's",
    value: optionalFile,
    help: "PEM file with the authorities that sign the NATS servers' certificates; naming one makes TLS a must.",
  }),
  cluster: setting<string>({
    env: ["LATENTCAST_CLUSTER"],
    default: "lc",
    value: name,
    help: "Name of the fleet: prefix of everything that it keeps in NATS, so that several fleets can share servers.",
  }),
  clusterReplicas: setting<number>({
    env: ["LATENTCAST_CLUSTER_REPLICAS"],
    default: "3",
    value: whole(1, 5),
    help: "On how many NATS servers `cluster init` keeps everything; 1 is for trying out.",
  }),
} as const;

function isNatsUrl(text: string): boolean {
  const url = text.includes("://") ? text : `nats://${text}`;
  return URL.canParse(url) && /^(nats|tls):$/.test(new URL(url).protocol) && new URL(url).hostname !== "";
}
