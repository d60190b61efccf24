/** What the paths of access tokens do. */
import { z } from "zod";
import { inputSchema, outputSchema, WITH_BODY, type Operation } from "../../openapi/operation.ts";

const name = z.string().min(1).max(256);
const names = z.array(name).max(16).default([]);
const seconds = z.number().positive().optional();

export const tokenInput = z.object({
  allowed_apps: names.describe("Models: `owner/alias`, or the alias alone."),
  allowed_paths: names.describe("Paths, such as `owner/alias/realtime`."),
  token_expiration: seconds.describe("Seconds it is good for, at most 120."),
  duration: seconds.describe("Another name of `token_expiration`; wins."),
});

const TOKEN_INPUT = inputSchema("TokenInput", tokenInput);
const RULES =
  "It stands for the key where one cannot be sent: as `?fal_jwt_token=` of a realtime socket or of a `/stream`. It is checked when the " +
  "connection opens.";

export const tokenOperation: Operation = {
  id: "token",
  tag: "Service",
  summary: "Get a short-lived token for some models",
  description: RULES,
  body: { json: TOKEN_INPUT },
  responses: { 200: { description: "The token.", json: outputSchema("Token", z.string()) } },
  errors: WITH_BODY,
};

export const realtimeTokenOperation: Operation = {
  id: "realtimeToken",
  tag: "Service",
  summary: "Get a short-lived token for some models, as an object",
  description: RULES,
  body: { json: TOKEN_INPUT },
  responses: {
    201: { description: "The token.", json: outputSchema("TokenReply", z.object({ token: z.string() })) },
  },
  errors: WITH_BODY,
};
