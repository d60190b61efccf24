// The image's health check: the server inside takes jobs.
// A Kubernetes Service named latentcast sets the same variable to tcp://…, which the server passes over too.
const { LATENTCAST_PORT: named = "" } = process.env;
const port = /^\d+$/.test(named.trim()) ? named.trim() : "8080";
const response = await fetch(`http://127.0.0.1:${port}/ready`);
if (!response.ok) {
  console.error(`GET /ready: ${response.status} ${await response.text()}`);
  process.exitCode = 1;
}
