/** `npm run py -- ARGUMENTS`: the project's Python, made first when it is missing, with the worker importable. */
import { spawn } from "node:child_process";
import { devPython } from "./lib/python.ts";

const python = await devPython();
if (python === null) process.exit(1);
const child = spawn(python, process.argv.slice(2), { stdio: "inherit", cwd: "python" });
child.once("close", (code) => process.exit(code ?? 1));
