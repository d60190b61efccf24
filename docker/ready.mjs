// The image's health check: the server inside takes jobs.
const response = await fetch(`http://127.0.0.1:${process.env["LATENTCAST_PORT"] ?? "8080"}/ready`);
if (!response.ok) {
  console.error(`GET /ready: ${response.status} ${await response.text()}`);
  process.exitCode = 1;
}
