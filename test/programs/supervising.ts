import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { supervise } from "../../local/supervise.ts";

// Supervises the shell command that argv names, with a folder of its own, and waits to be killed.
const folder = await mkdtemp(path.join(tmpdir(), "veza-supervised-"));
const { pid } = await supervise("/bin/sh", ["-c", process.argv[2] ?? ""], { folder });
console.log(`program ${pid} in ${folder}`);
setInterval(() => {}, 1_000);
