/** A module with everything it imports as one script, the way a web page would get it. */
import { build } from "vite";

export async function bundle(entry: string): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: "silent",
    build: { write: false, lib: { entry, formats: ["es"], fileName: "bundle" }, target: "es2022", minify: true },
  });
  const [output] = Array.isArray(result) ? result : [result];
  if (output === undefined || !("output" in output)) throw new Error(`${entry} did not become a bundle`);
  return output.output[0].code;
}
