import { describe, expect, it } from "vitest";
import { reachOf, urlProblem } from "../../../src/net/addresses.ts";

describe("the reach of an address", () => {
  it.each([
    ["public", "93.184.216.34"],
    ["public", "2606:2800:220:1::1"],
    ["public", "64:ff9b::5db8:d822"],
    ["private", "10.0.0.1"],
    ["private", "172.16.0.1"],
    ["private", "192.168.1.1"],
    ["private", "127.0.0.1"],
    ["private", "127.255.0.9"],
    ["private", "100.64.0.1"],
    ["private", "::1"],
    ["private", "fd00::1"],
    ["private", "::ffff:10.0.0.1"],
    ["private", "64:ff9b::7f00:1"],
    ["forbidden", "169.254.169.254"],
    ["forbidden", "fe80::1"],
    ["forbidden", "fe80::1%eth0"],
    ["forbidden", "::ffff:169.254.169.254"],
    ["forbidden", "64:ff9b::a9fe:a9fe"],
    ["forbidden", "0.0.0.0"],
    ["forbidden", "::"],
    ["forbidden", "224.0.0.1"],
    ["forbidden", "ff02::1"],
    ["forbidden", "255.255.255.255"],
    ["forbidden", "240.0.0.1"],
    ["forbidden", "2002:a9fe:a9fe::1"],
    ["forbidden", "2001:0:1::1"],
    ["forbidden", "nonsense"],
  ])("is %s for %s", (reach, address) => {
    expect(reachOf(address)).toBe(reach);
  });
});

describe("a URL", () => {
  const problem = (url: string, allowPrivate = false) => urlProblem(new URL(url), { allowPrivate });

  it.each([
    "http://169.254.169.254/latest/meta-data",
    "http://[fe80::1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://0/",
    "http://[::]/",
    "http://224.0.0.1/",
  ])("that names an address nobody may call is refused in every spelling: %s", (url) => {
    expect(problem(url, true)).toMatch(/link-local/);
  });

  it.each([
    "http://10.1.2.3/",
    "http://2130706433/",
    "http://[::1]:8080/",
    "http://localhost:3000/",
    "http://a.localhost/",
  ])("that names a private address is a matter of the rules: %s", (url) => {
    expect(problem(url)).toMatch(/private/);
    expect(problem(url, true)).toBeUndefined();
  });

  it.each([6_000, 5_060, 9, 22, 25])("that names port %i of another protocol is refused", (port) => {
    expect(problem(`http://example.com:${port}/`)).toMatch(/port/);
  });

  it.each([
    "https://example.com/",
    "http://example.com:8443/x?y",
    "http://93.184.216.34/",
    "http://notlocalhost.example/",
  ])("that leads into the open is fine: %s", (url) => {
    expect(problem(url)).toBeUndefined();
  });

  it.each(["ftp://example.com/", "file:///etc/passwd", "http://user:pass@example.com/"])(
    "that is not plain HTTP is refused: %s",
    (url) => {
      expect(problem(url)).toMatch(/http or https/);
    },
  );
});
