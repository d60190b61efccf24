/** What the variables of a process say about the machine: the folders of its user, and what Kubernetes has added. */
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Our folder below the one that `variable` names (an absolute path, by the XDG rules), else below the user's home; null without either. */
export function userFolder(env: Environment, variable: string, inHome: readonly string[]): string | null {
  const named = env[variable];
  if (named !== undefined && isAbsolute(named)) return join(named, "latentcast");
  const home = homeFolder(env);
  return home === null ? null : join(home, ...inHome, "latentcast");
}

/** Null for a user without an entry in the password file, as in containers that run as any number. */
export function homeFolder({ HOME }: Environment): string | null {
  if (HOME !== undefined && isAbsolute(HOME)) return HOME;
  try {
    return homedir();
  } catch {
    return null;
  }
}

/** Kubernetes gives pods `NAME_PORT=tcp://ADDRESS:PORT` for each Service in their namespace, and ours may be called latentcast. */
export function isServiceLink(name: string, value: string): boolean {
  return name.endsWith("_PORT") && /^(tcp|udp|sctp):\/\//.test(value);
}
