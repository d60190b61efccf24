/** Why workers have no Python to run in, and what the user can do about it. */
import { LaunchError } from "../worker/slot-failure.ts";

export type SetupErrorCode =
  | "python_missing"
  | "python_unsupported"
  | "venv_missing"
  | "packages_missing"
  | "foreign_environment"
  | "disk_full"
  | "no_network"
  | "certificate"
  | "permission_denied"
  | "no_release"
  | "out_of_memory"
  | "interrupted"
  | "install_failed";

/** `message` says in one line what is wrong and what to do; `problem` and `hint` are its two halves. */
export class SetupError extends LaunchError {
  readonly code: SetupErrorCode;
  readonly problem: string;
  readonly hint: string;

  constructor(code: SetupErrorCode, problem: string, hint: string) {
    super(`${problem}: ${hint}`);
    this.code = code;
    this.problem = problem;
    this.hint = hint;
  }
}

const SYSTEM_ERRORS: Readonly<Record<string, SetupErrorCode>> = {
  ENOSPC: "disk_full",
  EDQUOT: "disk_full",
  EACCES: "permission_denied",
  EPERM: "permission_denied",
  EROFS: "permission_denied",
};

/** The first that matches decides: pip ends a failed connection with "no matching distribution". */
const PIP_ERRORS: readonly (readonly [RegExp, SetupErrorCode])[] = [
  [/No space left on device|Errno 28\b|Disk quota exceeded|Errno 122\b/, "disk_full"],
  [/CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|SSLError/, "certificate"],
  [
    /NewConnectionError|ConnectTimeoutError|ReadTimeoutError|NameResolutionError|Temporary failure in name resolution|ProxyError|ConnectionResetError|IncompleteRead|Network is unreachable|Connection (refused|aborted|broken)|Read timed out/,
    "no_network",
  ],
  [/Permission denied|Errno 13\b|Read-only file system|Errno 30\b/, "permission_denied"],
  [
    /No matching distribution found|Could not find a version|is not a supported wheel|requires a different Python/,
    "no_release",
  ],
  [/MemoryError|Cannot allocate memory/, "out_of_memory"],
];

/** Turns the end of a command's output into the error that says what to do. */
export function explainFailure(doing: string, output: readonly string[], directory: string): SetupError {
  const text = output.join("\n");
  const code = PIP_ERRORS.find(([pattern]) => pattern.test(text))?.[1] ?? "install_failed";
  const named =
    output.findLast((line) => /^(ERROR|Error|error)\b/.test(line)) ?? output.findLast((line) => line.trim() !== "");
  return setupError(code, doing, directory, named?.trim());
}

/** Turns an error of the file system into the error that says what to do; anything else is given back as it is. */
export function explainSystemError(thrown: unknown, doing: string, directory: string): unknown {
  if (!(thrown instanceof Error) || !("code" in thrown)) return thrown;
  const code = SYSTEM_ERRORS[String(thrown.code)];
  return code === undefined ? thrown : setupError(code, doing, directory, thrown.message);
}

function setupError(code: SetupErrorCode, doing: string, directory: string, detail: string | undefined): SetupError {
  const failed = (because: string): string => `${doing} failed, ${because}`;
  switch (code) {
    case "disk_full":
      return new SetupError(
        code,
        failed(`no space is left for ${directory} or its downloads`),
        "free 10 GB (3 GB without CUDA) and run it again",
      );
    case "no_network":
      return new SetupError(
        code,
        failed("the package index cannot be reached"),
        "check the connection, or set PIP_INDEX_URL, PIP_PROXY or a pip.conf, and run it again",
      );
    case "certificate":
      return new SetupError(
        code,
        failed("the package index's certificate is not trusted"),
        "set PIP_CERT to your network's certificate bundle and run it again",
      );
    case "permission_denied":
      return new SetupError(code, failed(`${directory} cannot be written`), "fix its owner and mode and run it again");
    case "no_release":
      return new SetupError(
        code,
        failed(`the package index has no build for this machine (${detail ?? "no details"})`),
        "use Python 3.11 to 3.13 on Linux (glibc) or macOS, or name an interpreter with LATENTCAST_PYTHON",
      );
    case "out_of_memory":
      return new SetupError(code, failed("memory ran out"), "free 2 GB and run it again");
    case "python_missing":
    case "python_unsupported":
    case "venv_missing":
    case "packages_missing":
    case "foreign_environment":
    case "interrupted":
    case "install_failed":
      return new SetupError(code, failed(detail ?? "without any output"), `its output is in ${directory}.log`);
  }
}
