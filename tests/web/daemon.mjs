// The real daemon in a directory of its own, for tests of the client library without a browser.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const READY_MS = 20_000;
const BASE = `workers: 2
limits: {every: 0, connections_per_address: 0}
drain: {spread: 0}
`;

export class Daemon {
  /** Starts a daemon that ends with the test `t`. */
  static async start(t, config = "") {
    const daemon = new Daemon(config);
    t.after(() => daemon.remove());
    await daemon.start();
    return daemon;
  }

  constructor(config) {
    this.directory = mkdtempSync(join(tmpdir(), "wsd-web-"));
    this.config = config;
    this.port = 0;
    this.output = "";
  }

  get url() { return `http://127.0.0.1:${this.port}/`; }

  /** Again on the same port, after `kill`. */
  async start() {
    const path = join(this.directory, "wsd.yaml");
    const places = `listen: ["127.0.0.1:${this.port}"]\nstate: ${this.directory}/state\nruntime: ${this.directory}/run\n`;
    writeFileSync(path, places + BASE + this.config);
    const python = process.env.WSD_TEST_PYTHON ?? join(ROOT, ".venv/bin/python");
    this.process = spawn(python, ["-m", "wsd", "run", "-c", path], { cwd: ROOT });
    this.ended = new Promise((resolve) => { this.process.on("exit", resolve); });
    const deadline = Date.now() + READY_MS;
    let output = "";
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on("data", (data) => { output += data; });
    while (!/serving on http:\/\/[^/]*:(\d+)/.test(output)) {
      if (Date.now() > deadline || this.process.exitCode !== null) throw new Error(`the daemon did not start:\n${output}`);
      await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
    this.port = Number(/serving on http:\/\/[^/]*:(\d+)/.exec(output)[1]);
  }

  children() {
    const { pid } = this.process;
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  }

  workers() {
    return this.children().filter((pid) => {
      try { return readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("wsd: worker"); } catch { return false; }
    });
  }

  /** Every process at once, as a power cut does it. */
  async kill() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    for (const pid of [this.process.pid, ...this.children()]) {
      try { process.kill(pid, "SIGKILL"); } catch { /* it has ended by itself */ }
    }
    await this.ended;
  }

  async remove() {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
