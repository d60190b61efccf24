import { createServer, type RequestListener } from "node:http";
import type { AddressInfo, LookupFunction } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { deferred } from "../../../src/async/deferred.ts";
import { fetchImage, type ImageWeb } from "../../../src/net/fetch-image.ts";

const BYTES = Buffer.from("as good as an image");

/** Name resolution that answers the addresses in turn, the last one for ever. */
function resolvesTo(...addresses: string[]): LookupFunction {
  return (_name, _options, callback) => {
    const address = (addresses.length > 1 ? addresses.shift() : addresses[0]) ?? "";
    callback(null, [{ address, family: address.includes(":") ? 6 : 4 }]);
  };
}

/** Servers of this machine stand in for the open web. */
const LOCAL: ImageWeb = {
  protocol: "http:",
  allowPorts: true,
  allowPrivate: true,
  timeoutMs: 10_000,
  maxBytes: 1_000,
  lookup: resolvesTo("127.0.0.1"),
};

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** Resolves with the address under which the listener answers. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://images.example:${(server.address() as AddressInfo).port}`;
}

async function bytesOf(address: string, web: ImageWeb | undefined, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of fetchImage(address, signal, web)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe("an image elsewhere", () => {
  it("is fetched with nothing that tells who asks for it", async () => {
    let headers: object = {};
    const url = await serve((request, response) => {
      headers = request.headers;
      response.setHeader("content-type", "image/png").end(BYTES);
    });
    expect(await bytesOf(`${url}/a.png?b=c`, LOCAL)).toEqual(BYTES);
    expect(headers).toEqual({
      host: url.slice("http://".length),
      accept: "image/*",
      "accept-encoding": "identity",
      "user-agent": "latentcast",
      connection: "close",
    });
  });

  it.each(["image/jpeg", "image/svg+xml; charset=utf-8", "application/octet-stream", undefined])(
    "may have the content type %s",
    async (type) => {
      const url = await serve((_, response) => {
        if (type !== undefined) response.setHeader("content-type", type);
        response.end(BYTES);
      });
      expect(await bytesOf(url, LOCAL)).toEqual(BYTES);
    },
  );

  it.each(["text/html", "application/json", "imagery/png", "image"])(
    "is not taken with the content type %s",
    async (type) => {
      const url = await serve((_, response) => void response.setHeader("content-type", type).end(BYTES));
      await expect(bytesOf(url, LOCAL)).rejects.toThrow(/not an image by the content type/);
    },
  );

  it("is not unpacked", async () => {
    const url = await serve((_, response) => void response.setHeader("content-encoding", "gzip").end(gzipSync(BYTES)));
    await expect(bytesOf(url, LOCAL)).rejects.toThrow(/compressed/);
  });

  it.each([404, 500, 204, 206])("is not taken from an answer with the status %i", async (status) => {
    const url = await serve((_, response) => void response.writeHead(status).end());
    await expect(bytesOf(url, LOCAL)).rejects.toThrow(new RegExp(`answered ${status}$`));
  });

  it("is given up when it says that it is too large, and when it is", async () => {
    const says = await serve((_, response) => void response.setHeader("content-length", 2_000).write("x"));
    await expect(bytesOf(says, LOCAL)).rejects.toThrow(/more than the 1000 bytes/);
    const is = await serve((_, response) => {
      const pour = (): void => {
        while (response.write(BYTES));
      };
      response.on("drain", pour);
      pour();
    });
    await expect(bytesOf(is, LOCAL)).rejects.toThrow(/more than the 1000 bytes/);
  });

  it("is given up when it takes too long, before the answer and in the middle of it", async () => {
    const silent = await serve(() => undefined);
    const stuck = await serve((_, response) => void response.write(BYTES));
    for (const url of [silent, stuck])
      await expect(bytesOf(url, { ...LOCAL, timeoutMs: 50 })).rejects.toThrow("was not there within 0.05 s");
  });

  it("is given up when it is cut off", async () => {
    const url = await serve((_, response) => {
      response.setHeader("content-length", 100).write(BYTES, () => response.destroy());
    });
    await expect(bytesOf(url, LOCAL)).rejects.toThrow(/^could not be fetched$/);
  });

  it("is given up when nobody waits for it any more", async () => {
    const gone = new AbortController();
    const url = await serve(() => gone.abort());
    await expect(bytesOf(url, LOCAL, gone.signal)).rejects.toThrow(/abort/i);
  });

  it("closes the connection of whoever stops reading", async () => {
    const closed = deferred<void>();
    const url = await serve((_, response) => {
      response.on("close", () => closed.resolve(undefined));
      response.write(BYTES);
    });
    for await (const chunk of fetchImage(url, undefined, LOCAL)) {
      expect(chunk).toEqual(BYTES);
      break;
    }
    await closed.promise;
  });
});

describe("a redirect", () => {
  const redirect = (location: string): Promise<string> =>
    serve((_, response) => void response.writeHead(302, { location }).end());

  it("is followed three times, also to a relative address", async () => {
    const url = await serve((request, response) => {
      const left = Number(request.url?.slice(1));
      if (left === 0) response.end(BYTES);
      else response.writeHead(307, { location: `/${left - 1}` }).end();
    });
    expect(await bytesOf(`${url}/3`, LOCAL)).toEqual(BYTES);
    await expect(bytesOf(`${url}/4`, LOCAL)).rejects.toThrow(/redirected more than 3 times/);
  });

  it.each([
    ["another protocol", "file:///etc/passwd", /must begin with http:/],
    ["an address that nobody may call", "http://169.254.169.254/", /link-local/],
    ["the same, spelled as a number", "http://2852039166/", /link-local/],
    ["a user", "http://user:secret@images.example/", /without a user name/],
    ["nowhere", "http://", /must begin with http:/],
  ])("is not followed to %s", async (_, location, problem) => {
    await expect(bytesOf(await redirect(location), LOCAL)).rejects.toThrow(problem);
  });

  it("is checked by the addresses that its name has", async () => {
    const url = await redirect("http://inside.example/");
    const web = { ...LOCAL, lookup: resolvesTo("127.0.0.1", "169.254.169.254") };
    await expect(bytesOf(url, web)).rejects.toThrow(/^could not be fetched$/);
  });
});

describe("an address", () => {
  it.each([
    ["http://images.example/a.png", "must begin with https://"],
    ["https://images.example:8443/a.png", "must not name a port"],
    ["https://127.0.0.1/a.png", "must not lead to a private or loopback address"],
    ["https://localhost/a.png", "must not lead to a private or loopback address"],
    ["https://[::1]/a.png", "must not lead to a private or loopback address"],
    ["https://[::ffff:10.0.0.1]/a.png", "must not lead to a private or loopback address"],
    ["https://169.254.169.254/a.png", "must not lead to a link-local, multicast, unspecified or reserved address"],
    ["https://user@images.example/a.png", "must be an http or https URL without a user name"],
    ["ftp://images.example/a.png", "must begin with https://"],
    ["https://", "must begin with https://"],
  ])("that is not of the open web is never called: %s", async (address, problem) => {
    await expect(bytesOf(address, undefined)).rejects.toThrow(problem);
  });

  it("does not tell what its name leads to", async () => {
    const url = await serve((_, response) => void response.end(BYTES));
    for (const address of ["127.0.0.1", "10.0.0.1", "fe80::1", "64:ff9b::7f00:1"]) {
      const web = { ...LOCAL, allowPrivate: false, lookup: resolvesTo(address) };
      await expect(bytesOf(url, web)).rejects.toThrow(/^could not be fetched$/);
    }
    const hangingUp = await serve((request) => void request.socket.destroy());
    await expect(bytesOf(hangingUp, LOCAL)).rejects.toThrow(/^could not be fetched$/);
  });

  it("is called where the check has seen it, though the name leads elsewhere a moment later", async () => {
    const url = await serve((_, response) => void response.end(BYTES));
    let lookups = 0;
    const lookup: LookupFunction = (...call) => {
      lookups += 1;
      resolvesTo(lookups === 1 ? "127.0.0.1" : "169.254.169.254")(...call);
    };
    expect(await bytesOf(url, { ...LOCAL, lookup })).toEqual(BYTES);
    expect(lookups).toBe(1);
  });
});
