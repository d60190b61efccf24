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

const KEY: Parameter = { in: "path", name: "key", schema: { type: "string" }, description: "The name in its URL." };

export const fileOperation: Operation = {
  id: "file",
  tag: "Files",
  summary: "Get a finished image or an upload",
  description: "No key is needed: its name cannot be guessed. A file never changes; it expires.",
  parameters: [KEY],
  responses: {
    200: { description: "The file.", bytes: true },
    304: { description: "Not modified.", empty: true },
  },
  errors: [...ALWAYS, "not_found"],
  isOpen: true,
};

export const uploadOperation: Operation = {
  id: "upload",
  tag: "Files",
  summary: "Upload a file to its `upload_url`",
  description: "The signature in the query of the URL allows one upload within 15 minutes.",
  parameters: [KEY],
  body: { bytes: true },
  responses: { 200: { description: "The file is stored.", json: outputSchema("UploadReply", z.object({})) } },
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
  summary: "Get a URL to upload a file to",
  description: "Nothing is stored until the file is uploaded.",
  body: { json: inputSchema("InitiateUploadInput", initiateUploadInput) },
  responses: {
    200: {
      description: "The URL to upload to, and the URL of the file.",
      json: outputSchema("UploadPlaces", z.object({ file_url: z.string(), upload_url: z.string() })),
    },
  },
  errors: WITH_BODY,
};
