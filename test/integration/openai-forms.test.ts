/** Forms of strangers over raw sockets: whatever is wrong with them is told in OpenAI's shape, and nobody else notices. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addressOf, eventually, useCommandLine } from "../support/command-line.ts";
import { FORM_TYPE, formBytes, formData, type Part } from "../support/forms.ts";
import { twoColours } from "../support/images.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

const PAGE = "https://page.example";
const LIMIT = 1_000_000;
const PATH = "/v1/images/edits";

let server: TestServer;
let image: Buffer;
let parts: Part[];
beforeAll(async () => {
  image = await twoColours(64, 64, "red", "blue");
  parts = [
    { name: "image", value: image, fileName: "upload", type: "application/octet-stream" },
    { name: "prompt", value: "x" },
    { name: "steps", value: "2" },
  ];
  server = await startTestServer({
    worker: "fixture_worker",
    env: { LATENTCAST_BODY_LIMIT_BYTES: String(LIMIT), LATENTCAST_CORS_ORIGINS: PAGE },
  });
  await server.ready();
});
afterAll(() => server.close());

type Headers = Readonly<Record<string, string | undefined>>;

/** With `undefined` in place of a header it is left out. */
function head(headers: Headers = {}): string {
  const all: Headers = { host: "localhost", "content-type": FORM_TYPE, connection: "close", ...headers };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}\r\n`]));
  return `POST ${PATH} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

function open(url = server.url): Socket {
  const { hostname, port } = new URL(url);
  return connect(Number(port), hostname).on("error", () => undefined);
}

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** Writes the pieces one after the other and reads until the server closes. */
async function send(...pieces: readonly (string | Buffer)[]): Promise<Answer> {
  const socket = open();
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  const closed = once(socket, "close");
  for (const piece of pieces) socket.write(piece);
  await closed;
  const [first = "", ...rest] = text.split("\r\n\r\n");
  return { status: Number(first.split(" ")[1]), head: first.toLowerCase(), body: rest.join("\r\n\r\n") };
}

function sendForm(form: Buffer, headers: Headers = {}): Promise<Answer> {
  return send(head({ "content-length": String(form.byteLength), ...headers }), form);
}

const chunk = (bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${bytes.byteLength.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
const codeOf = ({ status, body }: Answer): unknown[] => [status, JSON.parse(body).error.code];
const accepted = (): number => server.jobs.snapshot().counters.accepted;

/** The server still does what it is for. */
async function expectWell(): Promise<void> {
  expect((await sendForm(formBytes(parts))).status).toBe(200);
  await eventually(() =>
    expect(server.jobs.snapshot()).toMatchObject({ queue: { unfinished: 0 }, workers: [{ jobs: 0 }] }),
  );
}

describe("a form", () => {
  it("is read whole however the network cuts it", async () => {
    const form = formBytes(parts);
    const bytes = [...form].map((byte) => Buffer.of(byte));
    expect((await send(head({ "content-length": String(form.byteLength) }), ...bytes)).status).toBe(200);
    const chunks = [...bytes.map(chunk), "0\r\n\r\n"];
    expect((await send(head({ "transfer-encoding": "chunked" }), ...chunks)).status).toBe(200);
  });

  it("is asked for only when it will be taken", async () => {
    const asking = { expect: "100-continue" };
    expect(codeOf(await send(head({ ...asking, "content-length": String(LIMIT + 1) })))).toEqual([
      413,
      "payload_too_large",
    ]);
    expect((await sendForm(formBytes(parts), asking)).status).toBe(100);
  });
});

describe("what is refused has OpenAI's shape", () => {
  const whole = (): Buffer => formBytes(parts);

  it.each<[string, () => Promise<Answer>, number, string]>([
    ["no boundary", () => sendForm(whole(), { "content-type": "multipart/form-data" }), 400, "bad_request"],
    [
      "an empty boundary",
      () => sendForm(whole(), { "content-type": "multipart/form-data; boundary=" }),
      400,
      "bad_request",
    ],
    ["no content type", () => sendForm(whole(), { "content-type": undefined }), 415, "unsupported_media_type"],
    [
      "a form of a browser",
      () => sendForm(Buffer.from("prompt=x"), { "content-type": "application/x-www-form-urlencoded" }),
      415,
      "unsupported_media_type",
    ],
    ["a compressed form", () => sendForm(whole(), { "content-encoding": "gzip" }), 415, "unsupported_media_type"],
    [
      "a thousand parts",
      () => sendForm(formBytes(Array.from({ length: 1_000 }, (_, index) => ({ name: `n${index}`, value: "1" })))),
      413,
      "payload_too_large",
    ],
    [
      "a thousand files",
      () => sendForm(formBytes(Array.from({ length: 1_000 }, () => ({ name: "image", value: "x", fileName: "a" })))),
      413,
      "payload_too_large",
    ],
    [
      "a part with a thousand headers",
      () => sendForm(Buffer.from(`--a-boundary\r\n${"x-a: b\r\n".repeat(1_000)}\r\nx\r\n--a-boundary--\r\n`)),
      400,
      "invalid_request",
    ],
    ["more than the limit", () => sendForm(Buffer.alloc(LIMIT + 1)), 413, "payload_too_large"],
    ["two prompts", () => sendForm(formBytes([...parts, { name: "prompt", value: "y" }])), 400, "invalid_request"],
    ["no host", () => sendForm(whole(), { host: undefined }), 400, "bad_request"],
    ["a stranger's host", () => sendForm(whole(), { host: "evil.example" }), 403, "forbidden"],
    ["a stranger's page", () => sendForm(whole(), { origin: "https://evil.example" }), 403, "forbidden"],
    [
      "a stranger's page in a newer browser",
      () => sendForm(whole(), { "sec-fetch-site": "cross-site" }),
      403,
      "forbidden",
    ],
  ])("for %s", async (_name, sent, status, code) => {
    const before = accepted();
    const answer = await sent();
    expect(codeOf(answer)).toEqual([status, code]);
    expect(answer.head).toMatch(/x-request-id: [\da-f-]{36}/);
    expect(accepted()).toBe(before);
    await expectWell();
  });

  it("and can be read by a page that is listed", async () => {
    const answer = await sendForm(Buffer.from("x"), { origin: PAGE });
    expect(answer.status).toBe(400);
    expect(answer.head).toContain(`access-control-allow-origin: ${PAGE}`);
  });

  it("before the body has ended, when it is too large", async () => {
    const socket = open();
    let text = "";
    socket.on("data", (received: Buffer) => (text += received.toString("latin1")));
    socket.write(head({ "transfer-encoding": "chunked", connection: undefined }));
    socket.write(chunk(formBytes(parts).subarray(0, -4)));
    const more = chunk(Buffer.alloc(LIMIT / 4));
    // What is written after the limit is thrown away, so that whoever sends before it listens comes to the answer.
    for (let sent = 0; sent < 40; sent += 1) socket.write(more);
    await eventually(() => expect(text).toContain("payload_too_large"));
    socket.end("0\r\n\r\n");
    await once(socket, "close");
    expect(text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    await expectWell();
  });
});

describe("a connection", () => {
  it("goes on after a form, taken or refused, with the next request", async () => {
    const good = formBytes(parts);
    const broken: [Buffer, number][] = [
      [good, 200],
      [Buffer.from("x".repeat(500_000)), 400],
      [formBytes(Array.from({ length: 1_000 }, () => ({ name: "image", value: "x".repeat(900), fileName: "a" }))), 413],
      [formBytes([{ name: "toString", value: "x" }, ...parts]), 400],
      [formBytes([...parts, { name: "n", value: "x".repeat(500_000) }]), 413],
      [formBytes([...parts, { name: "n", value: "none" }]), 400],
    ];
    const socket = open();
    let text = "";
    socket.on("data", (received: Buffer) => (text += received.toString("latin1")));
    const statuses = (): number[] => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status));
    const expected: number[] = [];
    for (const [form, status] of broken) {
      for (const [body, outcome] of [
        [form, status],
        [good, 200],
      ] as const) {
        socket.write(head({ "content-length": String(body.byteLength), connection: undefined }));
        socket.write(body);
        expected.push(outcome);
        await eventually(() => expect(statuses()).toEqual(expected));
      }
    }
    socket.destroy();
  });

  it("of HTTP/1.0 is answered as well", async () => {
    const form = formBytes(parts);
    const answer = await send(
      head({ "content-length": String(form.byteLength) }).replace("HTTP/1.1", "HTTP/1.0"),
      form,
    );
    expect(answer.status).toBe(200);
  });
});

describe("a path that is there", () => {
  it.each(["edits", "variations"])("says how it is called: %s", async (name) => {
    for (const path of [`/v1/images/${name}`, `/images/${name}`]) {
      const response = await fetch(server.url + path);
      expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
      expect((await response.json()).error.code).toBe("method_not_allowed");
    }
  });

  it("lets a listed page send what OpenAI's client sends", async () => {
    const response = await fetch(server.url + PATH, {
      method: "OPTIONS",
      headers: {
        origin: PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang,x-stainless-retry-count",
      },
    });
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-headers")).toContain("x-stainless-retry-count");
  });
});

describe("a length that is not true", () => {
  it("leaves the server waiting, not working, when it is too long", async () => {
    const before = accepted();
    const form = formBytes(parts);
    const socket = open();
    socket.write(head({ "content-length": String(form.byteLength + 100) }));
    socket.write(form);
    await expectWell();
    expect(accepted()).toBe(before + 1);
    socket.destroy();
    await expectWell();
  });

  it("cuts the form off when it is too short", async () => {
    const form = formBytes(parts);
    expect(codeOf(await sendForm(form, { "content-length": String(form.byteLength - 10) }))).toEqual([
      400,
      "bad_request",
    ]);
    await expectWell();
  });
});

describe("two hundred clients", () => {
  it("that stop in the middle of a form keep nobody from an image, and are forgotten when they go", async () => {
    const before = accepted();
    const form = formBytes(parts);
    const sockets = Array.from({ length: 200 }, () => {
      const socket = open();
      socket.write(head({ "content-length": String(form.byteLength) }));
      socket.write(form.subarray(0, -30));
      return socket;
    });
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    await expectWell();
    expect(accepted()).toBe(before + 1);
    for (const socket of sockets) socket.destroy();
    await expectWell();
  });

  it("that read nothing of their streams have their jobs done and hold no worker", async () => {
    const before = server.jobs.snapshot().counters.succeeded;
    const form = formBytes([...parts, { name: "stream", value: "true" }, { name: "partial_images", value: "3" }]);
    const sockets = Array.from({ length: 200 }, () => {
      const socket = open();
      socket.pause();
      socket.write(head({ "content-length": String(form.byteLength) }));
      socket.write(form);
      return socket;
    });
    await eventually(() => expect(server.jobs.snapshot().counters.succeeded).toBe(before + 200));
    for (const socket of sockets) socket.destroy();
    await expectWell();
  });
});

it("asks for a key before it reads a form", async () => {
  await using locked = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_API_KEYS: "secret" } });
  await locked.ready();
  const edit = (headers: Record<string, string>): Promise<Response> =>
    fetch(`${locked.url}${PATH}`, {
      method: "POST",
      headers,
      body: formData({ image: new Blob([new Uint8Array(image)]), prompt: "x" }),
    });
  for (const headers of [{ authorization: "Bearer secret" }, { "api-key": "secret" }])
    expect((await edit(headers)).status).toBe(200);
  const refused = await edit({ authorization: "Bearer wrong" });
  expect([refused.status, (await refused.json()).error.type]).toEqual([401, "authentication_error"]);
  const socket = open(locked.url);
  let text = "";
  socket.on("data", (received: Buffer) => (text += received.toString("latin1")));
  socket.write(head({ "content-length": "1000" }));
  await eventually(() => expect(text).toContain('"unauthorized"'));
  socket.destroy();
});

describe("a server process", () => {
  const cli = useCommandLine();

  it("finishes an edit at SIGTERM", async () => {
    const run = cli.start(["serve", "--port", "0"], { env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.2" } });
    const url = await addressOf(run);
    await eventually(async () => expect((await fetch(`${url}/ready`)).status).toBe(200));
    const body = formData({ image: new Blob([new Uint8Array(image)]), prompt: "x", steps: "20", stream: "true" });
    const response = await fetch(`${url}${PATH}`, { method: "POST", body });
    await eventually(async () => {
      const health: unknown = await (await fetch(`${url}/health`)).json();
      expect(health).toMatchObject({ workers: [{ jobs: 1 }] });
    });
    run.child.kill("SIGTERM");
    expect(await response.text()).toContain("event: image_edit.completed");
    expect(await run.exit).toBe(0);
  });
});
