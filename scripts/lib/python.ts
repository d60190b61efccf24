/** The Python that the project's own checks and tests run in, made first when it is missing. */
import { loadConfig } from "../../src/config.ts";
import { SetupError } from "../../src/python/setup-error.ts";
import { managedPython } from "../../src/python/environment.ts";

/** Null, after one line that says why, when there is none. */
export async function devPython(): Promise<string | null> {
  let shown = "";
  try {
    return await managedPython(loadConfig({ env: process.env }), {
      env: process.env,
      packages: "dev",
      onProgress: ({ text }) => {
        if (text !== shown) console.error(`Python environment: ${text}`);
        shown = text;
      },
    });
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    return null;
  }
}
