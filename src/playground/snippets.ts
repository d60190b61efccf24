/** The same request for other programs. Images to start from are files there: "Save" below the picture writes them. */
import { serverUrl } from "./access.ts";
import { INPUT_FILES } from "./input-image/request-inputs.ts";
import { toInput, type Values } from "./values.ts";

export type SnippetLanguage = "curl" | "javascript" | "python" | "openai";

type ImageField = keyof typeof INPUT_FILES;

/** Programs want the picture; previews are for the eye. */
function requestOf(values: Values): Readonly<Record<string, unknown>> {
  const { preview: _preview, ...input } = toInput(values);
  return input;
}

function imagesOf(values: Values): ImageField[] {
  if (values.image === "") return [];
  return values.mask === "" ? ["image_url"] : ["image_url", "mask_url"];
}

export function snippet(language: SnippetLanguage, values: Values, needsKey: boolean): string {
  switch (language) {
    case "curl":
      return curl(values, needsKey);
    case "javascript":
      return javascript(values, needsKey);
    case "python":
      return python(values, needsKey);
    case "openai":
      return openai(values, needsKey);
  }
}

function curl(values: Values, needsKey: boolean): string {
  // Between single quotes a shell reads everything as it is, except the quote that ends them.
  const body = JSON.stringify({ ...requestOf(values), preview: false }).replaceAll("'", `'\\''`);
  const images = imagesOf(values);
  const call = [
    `curl -s ${serverUrl()}/ \\`,
    `  -H 'content-type: application/json' \\`,
    ...(needsKey ? [`  -H "authorization: Key $LATENTCAST_API_KEY" \\`] : []),
    images.length === 0 ? `  -d '${body}' \\` : `  -d @- \\`,
    `  | jq -r '.image // .images[0] | .url' | cut -d, -f2 | base64 -d > picture.${extension(values)}`,
  ];
  if (images.length === 0) return call.join("\n");
  // Piped: an image is longer than an argument may be.
  return [
    `{ printf %s '${body.slice(0, -1)}'`,
    ...images.flatMap((field) => [
      `  printf ',"${field}":"data:image/png;base64,'`,
      `  base64 < ${INPUT_FILES[field]} | tr -d '\\n'`,
      `  printf '"'`,
    ]),
    `  printf '}'; } |`,
    ...call,
  ].join("\n");
}

function javascript(values: Values, needsKey: boolean): string {
  const key = needsKey ? ", apiKey: process.env.LATENTCAST_API_KEY" : "";
  const images = imagesOf(values);
  const files = images.map((field) => `  ${field}: await readFile("${INPUT_FILES[field]}"),\n`).join("");
  const input = JSON.stringify(requestOf(values), null, 2);
  return [
    ...(images.length === 0 ? [] : [`import { readFile } from "node:fs/promises";`]),
    `import { createClient } from "latentcast/client";`,
    ``,
    `const client = createClient({ baseUrl: ${JSON.stringify(serverUrl())}${key} });`,
    `const stream = client.stream(${images.length === 0 ? input : input.replace(/\n\}$/, `,\n${files}}`)});`,
    `for await (const event of stream) {`,
    `  if (event.kind === "preview") console.log(\`step \${event.step}\`, event.image.url.length);`,
    `}`,
    `const { image, seed } = await stream.result();`,
  ].join("\n");
}

function python(values: Values, needsKey: boolean): string {
  const body = JSON.stringify({ ...requestOf(values), preview: false });
  return [
    `import base64, json, os, urllib.request`,
    ``,
    `body = json.loads(${pythonString(body)})`,
    ...imagesOf(values).flatMap((field) => [
      `with open("${INPUT_FILES[field]}", "rb") as file:`,
      `    body["${field}"] = "data:image/png;base64," + base64.b64encode(file.read()).decode()`,
    ]),
    `request = urllib.request.Request(`,
    `    ${pythonString(`${serverUrl()}/`)},`,
    `    json.dumps(body).encode(),`,
    `    {"content-type": "application/json"${needsKey ? `, "authorization": "Key " + os.environ["LATENTCAST_API_KEY"]` : ""}},`,
    `)`,
    `with urllib.request.urlopen(request) as response:`,
    `    result = json.load(response)`,
    `for number, image in enumerate(result.get("images") or [result["image"]]):`,
    `    with open(f"picture-{number}.${extension(values)}", "wb") as file:`,
    `        file.write(base64.b64decode(image["url"].split(",")[1]))`,
  ].join("\n");
}

/** OpenAI's client for Python. What its API has no word for goes beside it. */
function openai(asked: Values, needsKey: boolean): string {
  // Its API has no AVIF.
  const values = asked.output_format === "avif" ? { ...asked, output_format: "png" } : asked;
  const {
    prompt: _prompt,
    model: _model,
    num_images: _count,
    output_format: _format,
    width: _width,
    height: _height,
    ...others
  } = requestOf(values);
  const images = imagesOf(values);
  const key = needsKey ? `os.environ["LATENTCAST_API_KEY"]` : `"none"`;
  return [
    `import base64, json, openai, os`,
    ``,
    `client = openai.OpenAI(base_url=${pythonString(`${serverUrl()}/v1`)}, api_key=${key})`,
    `answer = client.images.${images.length === 0 ? "generate" : "edit"}(`,
    ...images.map((field) => `    ${field.replace("_url", "")}=open("${INPUT_FILES[field]}", "rb"),`),
    ...(values.model === "" ? [] : [`    model=${pythonString(values.model)},`]),
    `    prompt=${pythonString(values.prompt)},`,
    `    n=${values.num_images || "1"},`,
    ...(values.width === "" || values.height === "" ? [] : [`    size="${values.width}x${values.height}",`]),
    `    output_format=${pythonString(values.output_format || "jpeg")},`,
    `    extra_body=json.loads(${pythonString(JSON.stringify(others))}),`,
    `)`,
    `for number, image in enumerate(answer.data):`,
    `    with open(f"picture-{number}.${extension(values)}", "wb") as file:`,
    `        file.write(base64.b64decode(image.b64_json))`,
  ].join("\n");
}

/** JSON's escapes are all Python's too. */
function pythonString(value: string): string {
  return JSON.stringify(value);
}

function extension(values: Values): string {
  return values.output_format === "jpeg" || values.output_format === "" ? "jpg" : values.output_format;
}
