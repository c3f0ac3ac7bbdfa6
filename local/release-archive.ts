import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import path from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { extract } from "tar";
import { fetchFailure } from "../lib/log.ts";
import { announce } from "./progress.ts";

/** A release of one of the projects at https://github.com/prometheus. */
export interface Release {
  project: string;
  version: string;
  /** Digests that are known, in hex, by platform. */
  sha256: Record<string, string>;
}

/** A download that stands still for this long is given up. */
const silenceTimeoutMs = 10_000;
const maxArchiveBytes = 400e6;
const architectures: Record<string, string> = { x64: "amd64", arm64: "arm64" };

/** Name of the release for this machine, and of the folder in its archive: `pushgateway-1.11.1.linux-amd64`. */
export function releaseName({ project, version }: Release): string {
  return `${project}-${version}.${platform()}`;
}

const platform = () => `${process.platform}-${architectures[process.arch] ?? process.arch}`;

/**
 * Downloads a release, checks its SHA-256 against the digest that is known here, or against the release's own
 * `sha256sums.txt`, and unpacks its files into `folder`. RELEASES_URL names a mirror of https://github.com/prometheus.
 *
 * Throws an Error when it cannot be had, breaks off, stands still for 10 s, or is not what its digest says; nothing is
 * left in `folder` then.
 */
export async function unpackRelease(release: Release, folder: string, signal?: AbortSignal): Promise<void> {
  const { project, version, sha256 } = release;
  const file = `${releaseName(release)}.tar.gz`;
  const base = (process.env.RELEASES_URL || "https://github.com/prometheus").replace(/\/+$/, "");
  const url = `${base}/${project}/releases/download/v${version}`;
  await mkdir(path.dirname(folder), { recursive: true });
  const download = await mkdtemp(`${folder}-download-`);
  try {
    await announce(`downloading ${project} ${version} from ${new URL(url).host}`, async () => {
      const archive = path.join(download, file);
      const { bytes, digest } = await save(`${url}/${file}`, archive, signal);
      const expected = sha256[platform()] ?? (await digestOf(file, `${url}/sha256sums.txt`, signal));
      if (digest !== expected) throw new Error(`the SHA-256 of ${file} is ${digest}, and should be ${expected}`);
      const unpacked = path.join(download, "unpacked");
      await mkdir(unpacked);
      await extract({ file: archive, cwd: unpacked, strip: 1, strict: true, preserveOwner: false });
      await rename(unpacked, folder).catch((error) => {
        if (!/^(ENOTEMPTY|EEXIST)$/.test(error.code)) throw error; // Another process was faster.
      });
      return `${(bytes / 1e6).toFixed(1)} MB`;
    });
  } finally {
    await rm(download, { recursive: true, force: true });
  }
}

/** Writes what a URL answers to a file. Resolves to its size and its SHA-256 in hex. */
async function save(url: string, file: string, signal?: AbortSignal): Promise<{ bytes: number; digest: string }> {
  const hash = createHash("sha256");
  let bytes = 0;
  const count = new Transform({
    transform(chunk, _, done) {
      bytes += chunk.length;
      hash.update(chunk);
      done(bytes > maxArchiveBytes ? new Error("the archive is too large") : null, chunk);
    },
  });
  await get(url, signal, async (body) => pipeline(body, count, createWriteStream(file)));
  return { bytes, digest: hash.digest("hex") };
}

async function digestOf(file: string, url: string, signal?: AbortSignal): Promise<string> {
  let text = "";
  await get(url, signal, async (body) => {
    const decoder = new TextDecoder();
    for await (const chunk of body) text += decoder.decode(chunk, { stream: true });
  });
  const line = text.split("\n").find((entry) => entry.trim().endsWith(` ${file}`));
  if (!line) throw new Error(`${url} has no digest of ${file}`);
  return line.trim().split(/\s+/)[0] ?? "";
}

type Body = AsyncIterable<Uint8Array>;

/** Gets a URL, and hands its body on. Gives up when nothing comes for 10 s. */
async function get(url: string, signal: AbortSignal | undefined, use: (body: Body) => Promise<void>): Promise<void> {
  const silence = new AbortController();
  const watch = setTimeout(
    () => silence.abort(new Error(`${url}: nothing came for ${silenceTimeoutMs / 1000} s`)),
    silenceTimeoutMs,
  );
  try {
    const answer = await fetch(url, { signal: AbortSignal.any(signal ? [silence.signal, signal] : [silence.signal]) });
    if (!answer.ok || !answer.body) throw new Error(`answered ${answer.status}`);
    const body = answer.body;
    await use(
      (async function* () {
        for await (const chunk of body) {
          watch.refresh();
          yield chunk;
        }
      })(),
    );
  } catch (error) {
    if (silence.signal.aborted) throw silence.signal.reason;
    throw new Error(`${url}: ${fetchFailure(error)}`, { cause: error });
  } finally {
    clearTimeout(watch);
  }
}
