/** What the paths about the server itself do. */
import { ALWAYS, outputSchema, WITH_KEY, type Operation } from "../../openapi/operation.ts";
import { health, ready } from "../../schema/health.ts";
import { loraList } from "../../schema/loras.ts";

export const healthOperation: Operation = {
  id: "health",
  tag: "Service",
  summary: "Get the state of the service",
  description: "200 while the process lives.",
  responses: {
    200: { description: "The state of the service and its workers.", json: outputSchema("Health", health) },
  },
  errors: ALWAYS,
  isOpen: true,
};

export const readyOperation: Operation = {
  id: "ready",
  tag: "Service",
  summary: "Check whether a request would start now",
  description: "For load balancers and health checks.",
  responses: { 200: { description: "It would.", json: outputSchema("Ready", ready) } },
  errors: [...ALWAYS, "worker_unavailable", "draining"],
  isOpen: true,
};

export const lorasOperation: Operation = {
  id: "loras",
  tag: "Service",
  summary: "List the LoRAs that requests may name",
  description: "Read from the folder each time: a file that is put there can be named at once.",
  responses: { 200: { description: "The LoRAs.", json: outputSchema("LoraList", loraList) } },
  errors: WITH_KEY,
};

export const metricsOperation: Operation = {
  id: "metrics",
  tag: "Service",
  summary: "Read counters for Prometheus",
  description: "In Prometheus' text format.",
  responses: { 200: { description: "The counters.", text: true } },
  errors: WITH_KEY,
};
