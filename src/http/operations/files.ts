/** What the paths of files and uploads do. */
import { z } from "zod";
import {
  ALWAYS,
  inputSchema,
  outputSchema,
  WITH_BODY,
  type Operation,
  type Parameter,
} from "../../openapi/operation.ts";

const KEY: Parameter = { in: "path", name: "key", schema: { type: "string" }, description: "The unguessable name." };

export const fileOperation: Operation = {
  id: "file",
  tag: "Files",
  summary: "Get a finished image or an upload",
  description: "Its name is the permission. It never changes, and expires.",
  parameters: [KEY],
  answers: {
    200: { description: "Its bytes.", bytes: true },
    304: { description: "They have not changed; they never do.", empty: true },
  },
  errors: [...ALWAYS, "not_found"],
  isOpen: true,
};

export const uploadOperation: Operation = {
  id: "upload",
  tag: "Files",
  summary: "Put the bytes of an upload to its `upload_url`",
  description: "The signature in the query of that URL is the permission; it is good for one upload within 15 minutes.",
  parameters: [KEY],
  body: { bytes: true },
  answers: { 200: { description: "They are kept.", json: outputSchema("UploadReply", z.object({})) } },
  errors: [...ALWAYS, "payload_too_large", "unsupported_media_type", "storage_full"],
  isOpen: true,
};

export const initiateUploadInput = z.object({
  content_type: z
    .string()
    .regex(/^[\w.+-]{1,64}\/[\w.+-]{1,64}$/, "must be a media type such as image/png")
    .default("application/octet-stream"),
  file_name: z.string().max(1_024).optional(),
});

export const initiateUploadOperation: Operation = {
  id: "initiateUpload",
  tag: "Files",
  summary: "Ask for a place to put a file",
  description: "Nothing is kept until the bytes arrive.",
  body: { json: inputSchema("InitiateUploadInput", initiateUploadInput) },
  answers: {
    200: {
      description: "Where to put it, and where it will be.",
      json: outputSchema("UploadPlaces", z.object({ file_url: z.string(), upload_url: z.string() })),
    },
  },
  errors: WITH_BODY,
};
