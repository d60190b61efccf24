/** The same request for other programs. */
import { serverUrl } from "./access.ts";
import { toInput, type Values } from "./values.ts";

export type SnippetLanguage = "curl" | "javascript" | "python";

/** Programs want the picture; previews are for the eye. */
function requestOf(values: Values): Readonly<Record<string, unknown>> {
  const { preview: _preview, ...input } = toInput(values);
  return input;
}

export function snippet(language: SnippetLanguage, values: Values, needsKey: boolean): string {
  switch (language) {
    case "curl":
      return curl(values, needsKey);
    case "javascript":
      return javascript(values, needsKey);
    case "python":
      return python(values, needsKey);
  }
}

function curl(values: Values, needsKey: boolean): string {
  // Between single quotes a shell reads everything as it is, except the quote that ends them.
  const body = JSON.stringify({ ...requestOf(values), preview: false }).replaceAll("'", `'\\''`);
  return [
    `curl -s ${serverUrl()}/ \\`,
    `  -H 'content-type: application/json' \\`,
    ...(needsKey ? [`  -H "authorization: Key $LATENTCAST_API_KEY" \\`] : []),
    `  -d '${body}' \\`,
    `  | jq -r '.image // .images[0] | .url' | cut -d, -f2 | base64 -d > picture.${extension(values)}`,
  ].join("\n");
}

function javascript(values: Values, needsKey: boolean): string {
  const key = needsKey ? ", apiKey: process.env.LATENTCAST_API_KEY" : "";
  return [
    `import { createClient } from "latentcast/client";`,
    ``,
    `const client = createClient({ baseUrl: ${JSON.stringify(serverUrl())}${key} });`,
    `const stream = client.stream(${JSON.stringify(requestOf(values), null, 2)});`,
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

/** JSON's escapes are all Python's too. */
function pythonString(value: string): string {
  return JSON.stringify(value);
}

function extension(values: Values): string {
  return values.output_format === "jpeg" || values.output_format === "" ? "jpg" : values.output_format;
}
