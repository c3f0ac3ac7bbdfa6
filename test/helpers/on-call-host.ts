import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { newFolder } from "./temporary-folder.ts";

/** Stands in for the host of the service: its journal, and the state of the service. */
export interface Host {
  /** The PATH with its programs. */
  programs: string;
  /** What is in the journal from now on, all of it now, and whether the service runs; unknown: it is another host. */
  set(lines: object[], state?: "active" | "failed" | "unknown"): Promise<void>;
  /** Adds a program: a script of the shell. */
  add(name: string, script: string): Promise<void>;
}

export async function newHost(): Promise<Host> {
  const folder = await newFolder();
  const bin = path.join(folder, "bin");
  await mkdir(bin);
  const add = (name: string, script: string) => writeFile(path.join(bin, name), script, { mode: 0o755 });
  await add("journalctl", journalctl);
  await add("systemctl", systemctl);
  return {
    programs: `${bin}:${process.env.PATH}`,
    add,
    async set(lines, state = "active") {
      await writeFile(path.join(folder, "log"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
      await writeFile(path.join(folder, "state"), state);
    },
  };
}

/** All lines of the file `log`, as of now. */
const journalctl = `#!/bin/bash
[[ "$*" =~ ^'-q -u veza-ledger-metrics --since -'[0-9]+[hmd]' -o short-iso --no-hostname'$ ]] &&
  sed "s/^/$(date +%Y-%m-%dT%H:%M:%S+0000) veza-ledger-metrics[12]: /" "\${0%/*}/../log"
`;
const systemctl = `#!/bin/bash
case "$*" in
  "cat veza-ledger-metrics") ! grep -q unknown "\${0%/*}/../state" ;;
  "is-active -q veza-ledger-metrics") grep -q '^active' "\${0%/*}/../state" ;;
esac
`;
