import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import type http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { create } from "tar";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { type Release, releaseName, unpackRelease } from "../local/release-archive.ts";
import { setEnvironment } from "./helpers/environment.ts";
import { closedPort, httpServer } from "./helpers/servers.ts";

const release: Release = { project: "pushgateway", version: "0.0.1", sha256: {} };
const name = releaseName(release);
const platform = name.replace("pushgateway-0.0.1.", "");
const program = "#!/bin/sh\necho it runs\n";

/** Empty at first. */
let folder: string;
let printed: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "veza-release-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  printed = "";
  const write = vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    printed += text;
    return true;
  });
  onTestFinished(() => write.mockRestore());
});

/** An archive of the same layout as a release's. */
async function makeArchive(): Promise<Buffer> {
  const source = await mkdtemp(path.join(tmpdir(), "veza-archive-"));
  onTestFinished(() => rm(source, { recursive: true, force: true }));
  await mkdir(path.join(source, name));
  await writeFile(path.join(source, name, "LICENSE"), "Apache\n");
  await writeFile(path.join(source, name, "pushgateway"), program, { mode: 0o755 });
  await create({ gzip: true, cwd: source, file: path.join(source, "archive") }, [name]);
  return readFile(path.join(source, "archive"));
}

const sha256 = (archive: Buffer) => createHash("sha256").update(archive).digest("hex");

type Answer = (response: http.ServerResponse) => void;

/** Serves a release, and nothing else. */
async function serveRelease(archive: Answer, sums: Answer = (response) => response.writeHead(404).end()) {
  const root = "/pushgateway/releases/download/v0.0.1";
  const url = await httpServer((request, response) => {
    if (request.url === `${root}/${name}.tar.gz`) archive(response);
    else if (request.url === `${root}/sha256sums.txt`) sums(response);
    else response.writeHead(404).end();
  });
  setEnvironment({ RELEASES_URL: `${url}/` });
  return url;
}

async function expectUnpacked(): Promise<void> {
  const target = path.join(folder, name);
  await unpackRelease(release, target);
  expect(await readdir(folder)).toEqual([name]);
  expect((await readdir(target)).sort()).toEqual(["LICENSE", "pushgateway"]);
  expect(await readFile(path.join(target, "pushgateway"), "utf8")).toBe(program);
}

it("unpacks an archive that has the digest of the release's own list, and says so in one line", async () => {
  const archive = await makeArchive();
  const sums = `${"0".repeat(64)}  other-${name}.tar.gz\n${sha256(archive)}  ${name}.tar.gz\n`;
  const url = await serveRelease(
    (response) => response.end(archive),
    (response) => response.end(sums),
  );
  await expectUnpacked();
  expect(printed).toBe(`downloading pushgateway 0.0.1 from ${new URL(url).host} … 0.0 MB\n`);
});

it("asks for no list where it knows the digest itself", async () => {
  const archive = await makeArchive();
  await serveRelease((response) => response.end(archive));
  release.sha256[platform] = sha256(archive);
  onTestFinished(() => {
    delete release.sha256[platform];
  });
  await expectUnpacked();
});

describe("leaves nothing behind and says why when", () => {
  const wrong = "0".repeat(64);

  it.each<[string, { archive?: Answer; sums?: Answer; known?: string }, RegExp]>([
    [
      "the digest is not the known one",
      { known: wrong },
      /^the SHA-256 of pushgateway\S+ is [0-9a-f]{64}, and should be 0{64}$/,
    ],
    [
      "the digest is not the listed one",
      { sums: (response) => response.end(`${wrong}  ${name}.tar.gz\n`) },
      /^the SHA-256 of pushgateway\S+ is [0-9a-f]{64}, and should be 0{64}$/,
    ],
    [
      "the list does not name it",
      { sums: (response) => response.end("\n") },
      /sha256sums\.txt has no digest of pushgateway/,
    ],
    ["there is no list", {}, /sha256sums\.txt: answered 404$/],
    ["there is no archive", { archive: (response) => response.writeHead(404).end() }, /\.tar\.gz: answered 404$/],
    [
      "the download breaks off",
      {
        archive(response) {
          response.writeHead(200, { "content-length": "1000000" });
          response.write("part", () => response.destroy());
        },
      },
      /\.tar\.gz: (other side closed|aborted|terminated|.*ECONNRESET)$/,
    ],
    [
      "nothing comes for 10 s",
      { archive: (response) => response.writeHead(200, { "content-length": "1000000" }).write("part") },
      /\.tar\.gz: nothing came for 10 s$/,
    ],
  ])("%s", async (_, { archive, sums, known }, reason) => {
    const good = await makeArchive();
    await serveRelease(archive ?? ((response) => response.end(good)), sums);
    const wanted = { ...release, sha256: known ? { [platform]: known } : {} };
    await expect(unpackRelease(wanted, path.join(folder, name))).rejects.toThrow(reason);
    expect(await readdir(folder)).toEqual([]);
    expect(printed).toMatch(/ … failed\n$/);
  });

  it("nobody listens", async () => {
    setEnvironment({ RELEASES_URL: `http://127.0.0.1:${closedPort}` });
    await expect(unpackRelease(release, path.join(folder, name))).rejects.toThrow(/\.tar\.gz: .*ECONNREFUSED/);
    expect(await readdir(folder)).toEqual([]);
  });

  it("it is told to stop", async () => {
    await serveRelease((response) => response.writeHead(200).write("part"));
    const stopping = new AbortController();
    const unpacking = unpackRelease(release, path.join(folder, name), stopping.signal);
    await expect.poll(() => readdir(folder)).toHaveLength(1);
    stopping.abort(new Error("stopped"));
    await expect(unpacking).rejects.toThrow(/: stopped$/);
    expect(await readdir(folder)).toEqual([]);
  });
});
