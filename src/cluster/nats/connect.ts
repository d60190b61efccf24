/** Connects to NATS, and says in one sentence why it cannot. */
import { readFile } from "node:fs/promises";
import {
  connect,
  credsAuthenticator,
  errors,
  nkeyAuthenticator,
  type Authenticator,
  type NatsConnection,
} from "@nats-io/transport-node";
import { ConfigError, isLoopback } from "../../config.ts";

/** Message TTLs and ranked pulls are of 2.11 and 2.12. */
const OLDEST = [2, 12] as const;

export interface NatsOptions {
  /** `nats://`, `tls://` or bare `host:port`, one for each server that is known. */
  readonly urls: readonly string[];
  /** A file as `nsc` makes it, with a JWT and the seed of its key, or one with the seed alone. */
  readonly credsFile?: string | undefined;
  /** Certificates of whoever may sign the servers' own, as PEM. */
  readonly caFile?: string | undefined;
  /** Below which subjects answers come in. */
  readonly inbox: string;
  /** What the servers' pages show this connection as. */
  readonly name: string;
  /** How long a server may take to answer the first time. */
  readonly timeoutMs?: number;
}

/** Rejects with a {@link ConfigError} that names the setting to change. */
export async function connectToNats(options: NatsOptions): Promise<NatsConnection> {
  const { urls, caFile, credsFile, inbox, name, timeoutMs = 2_000 } = options;
  const isTls = caFile !== undefined || urls.some((url) => url.startsWith("tls:"));
  if (!isTls) refusePlaintextAbroad(urls);
  const authenticator = credsFile === undefined ? undefined : await readCreds(credsFile);
  const ca = caFile === undefined ? undefined : await readNamed("LATENTCAST_NATS_CA", caFile);
  let connection: NatsConnection;
  try {
    connection = await connect({
      servers: urls.map(address),
      ...login(urls),
      inboxPrefix: inbox,
      name,
      timeout: timeoutMs,
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true,
      reconnectTimeWait: 250,
      reconnectJitter: 250,
      // A server that is frozen costs two seconds, not four minutes.
      pingInterval: 1_000,
      maxPingOut: 2,
      noAsyncTraces: true,
      ...(isTls ? { tls: ca === undefined ? {} : { ca: ca.toString() } } : {}),
      ...(authenticator === undefined ? {} : { authenticator }),
    });
  } catch (error) {
    throw refusal(urls, error);
  }
  const problem = unfit(connection);
  if (problem === undefined) return connection;
  await connection.close();
  throw new ConfigError(problem);
}

function refusePlaintextAbroad(urls: readonly string[]): void {
  const abroad = urls.find((url) => !isLoopback(hostOf(url)));
  if (abroad === undefined) return;
  throw new ConfigError(
    `--nats: ${shown(abroad)} is on another machine, so it must be reached over TLS: write tls:// or set LATENTCAST_NATS_CA.`,
  );
}

function unfit({ info }: NatsConnection): string | undefined {
  if (info === undefined) return "--nats: the connection was lost at once.";
  const where = `--nats: the server ${info.server_name} at ${info.host}:${info.port}`;
  const [major = 0, minor = 0] = info.version.split(".").map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
    return `${where} is NATS ${info.version}; ${OLDEST.join(".")} or newer is needed.`;
  if (info.jetstream !== true) return `${where} runs without JetStream; start it with --jetstream and a store_dir.`;
  return undefined;
}

function refusal(urls: readonly string[], error: unknown): ConfigError {
  const at = urls.map(shown).join(", ");
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const text = error instanceof Error ? error.message : String(error);
  const isRefused =
    error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError;
  const isTls =
    /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|EPROTO)/.test(code) || /tls|certificate/i.test(text);
  if (isRefused)
    return new ConfigError(
      `--nats: ${at} refuses the credentials; check LATENTCAST_NATS_CREDS, or user and password in the address.`,
      { cause: error },
    );
  if (isTls) {
    const advice = text.includes("does not support 'tls'")
      ? "give the server a `tls` block; one on this machine may also be reached by nats://, without LATENTCAST_NATS_CA"
      : "check LATENTCAST_NATS_CA";
    return new ConfigError(`--nats: TLS with ${at} failed (${text}); ${advice}.`, { cause: error });
  }
  return new ConfigError(`--nats: no NATS server answers at ${at} (${text}).`, { cause: error });
}

/**
 * A user's JWT with the seed of its key, as `nsc` writes them; or the seed alone, for servers that list the public halves of their users'
 * keys in their own configuration.
 */
async function readCreds(file: string): Promise<Authenticator> {
  const creds = await readNamed("LATENTCAST_NATS_CREDS", file);
  const text = creds.toString().trim();
  if (/^SU[A-Z2-7]{56}$/.test(text)) return nkeyAuthenticator(Buffer.from(text));
  if (/BEGIN NATS USER JWT[^]+BEGIN USER NKEY SEED/.test(text)) return credsAuthenticator(creds);
  throw new ConfigError(
    `LATENTCAST_NATS_CREDS: ${file} is no credentials file of NATS: it has neither a user's JWT and seed nor a seed alone.`,
  );
}

async function readNamed(setting: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new ConfigError(`${setting}: ${file} cannot be read (${reason}).`, { cause: error });
  }
}

function parsed(url: string): URL {
  return new URL(url.includes("://") ? url : `nats://${url}`);
}

/** As the client takes it: it has no place for a user in it. */
const address = (url: string): string => `${parsed(url).protocol}//${parsed(url).host}`;

function login(urls: readonly string[]): { user?: string; pass?: string } {
  const { username, password } = urls.map(parsed).find((url) => url.username !== "") ?? {};
  if (username === undefined) return {};
  return { user: decodeURIComponent(username), pass: decodeURIComponent(password ?? "") };
}

const hostOf = (url: string): string => parsed(url).hostname.replace(/^\[|\]$/g, "");
/** Without a password. */
const shown = (url: string): string => parsed(url).host;
