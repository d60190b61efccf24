import { describe, expect, it } from "vitest";
import { isKnownHost, isOwnOrListedPage } from "../../../../src/http/plugins/doors.ts";

const LOCAL = {
  host: "127.0.0.1",
  publicUrl: "https://images.example/api",
  allowedHosts: ["other.example", "192.168.7.7"],
};
const PUBLIC = { ...LOCAL, host: "0.0.0.0" };

describe("isKnownHost", () => {
  it.each([
    ["127.0.0.1:8080"],
    ["127.0.0.2"],
    ["localhost:8080"],
    ["LOCALHOST"],
    ["queue.localhost"],
    ["[::1]:8080"],
    ["[0:0:0:0:0:0:0:1]"],
    ["[::ffff:127.0.0.1]:8080"],
    ["[::FFFF:7f00:1]"],
    ["localhost."],
    ["localhost:"],
    ["latentcast:8080"],
    ["images.example"],
    ["other.example:443"],
    ["other.example."],
    ["192.168.7.7:8080"],
    [undefined],
  ])("knows %s", (header) => {
    expect(isKnownHost(header, LOCAL)).toBe(true);
  });

  it.each([
    ["evil.example"],
    ["evil.example:8080"],
    ["localhost.evil.example"],
    ["127.0.0.1.evil.example"],
    ["images.example.evil.example"],
    ["evil.example@localhost"],
    ["localhost/evil.example"],
    ["192.168.1.5:8080"],
    ["2130706433.evil.example"],
    ["[fe80::1]"],
    ["[::ffff:8.8.8.8]"],
    ["0.0.0.0"],
    ["localhost.."],
    ["localhost, evil.example"],
    ["a b"],
  ])("does not know %s", (header) => {
    expect(isKnownHost(header, LOCAL)).toBe(false);
  });

  it("knows any address when it listens on all, and no name more", () => {
    expect(isKnownHost("192.168.1.5:8080", PUBLIC)).toBe(true);
    expect(isKnownHost("[fe80::1]:8080", PUBLIC)).toBe(true);
    expect(isKnownHost("evil.example", PUBLIC)).toBe(false);
  });

  it("knows the address that it listens on", () => {
    expect(isKnownHost("10.1.2.3:8080", { ...LOCAL, host: "10.1.2.3" })).toBe(true);
    expect(isKnownHost("10.1.2.4:8080", { ...LOCAL, host: "10.1.2.3" })).toBe(false);
  });
});

describe("isOwnOrListedPage", () => {
  const options = { publicUrl: "https://images.example/api", corsOrigins: ["https://app.example"] };
  it.each([
    ["a program", {}],
    ["its own page", { host: "127.0.0.1:8080", origin: "http://127.0.0.1:8080", "sec-fetch-site": "same-origin" }],
    ["its own page in an old browser", { host: "127.0.0.1:8080", origin: "http://127.0.0.1:8080" }],
    [
      "its own page behind a proxy that changes the host",
      { host: "127.0.0.1:8080", origin: "https://x.example", "sec-fetch-site": "same-origin" },
    ],
    [
      "its own page behind a proxy that says so",
      { host: "127.0.0.1", origin: "https://x.example", "x-forwarded-host": "x.example" },
    ],
    ["its own page behind a proxy that adds the port", { host: "images.lan:80", origin: "http://images.lan" }],
    [
      "its own page under an address in capitals",
      { host: "[::FFFF:7F00:1]:8080", origin: "http://[::ffff:7f00:1]:8080" },
    ],
    ["the page of its public URL", { host: "127.0.0.1", origin: "https://images.example" }],
    ["a listed page", { host: "127.0.0.1", origin: "https://app.example", "sec-fetch-site": "cross-site" }],
    ["an address that was typed", { host: "127.0.0.1", "sec-fetch-site": "none" }],
  ])("lets in %s", (_, headers) => {
    expect(isOwnOrListedPage(headers, options)).toBe(true);
  });

  it.each([
    ["another page", { host: "127.0.0.1:8080", origin: "https://evil.example", "sec-fetch-site": "cross-site" }],
    ["another page in an old browser", { host: "127.0.0.1:8080", origin: "https://evil.example" }],
    ["another page that hides its origin", { host: "127.0.0.1:8080", "sec-fetch-site": "cross-site" }],
    [
      "another port of this machine",
      { host: "127.0.0.1:8080", origin: "http://127.0.0.1:3000", "sec-fetch-site": "same-site" },
    ],
    ["another port behind a proxy that adds the port", { host: "images.lan:80", origin: "http://images.lan:81" }],
    ["a file or a sandbox", { host: "127.0.0.1:8080", origin: "null", "sec-fetch-site": "cross-site" }],
  ])("keeps out %s", (_, headers) => {
    expect(isOwnOrListedPage(headers, options)).toBe(false);
  });

  it("lets every page in where every origin is listed", () => {
    const headers = { host: "127.0.0.1", origin: "https://evil.example", "sec-fetch-site": "cross-site" };
    expect(isOwnOrListedPage(headers, { ...options, corsOrigins: ["*"] })).toBe(true);
  });
});
