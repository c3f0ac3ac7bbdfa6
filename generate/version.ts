import { globSync } from "node:fs";
import path from "node:path";
import manifest from "../package.json" with { type: "json" };

const project = path.join(import.meta.dirname, "..");
/** What stands before a version of this project: the archive's name, the Go module's, and the Go client's constant. */
const named = /(\bveza-ledger-metrics-|\bclients\/go[ @/]v|^\tversion += ")\d+\.\d+\.\d+/gm;

/** The files, by their paths in the project, that may name the version: docs/upgrade.md may name two. */
export const filesWithVersion = (): string[] =>
  globSync("{docs/**/*.md,clients/go/*.md,clients/go/*/go.mod,clients/go/ledgermetrics/client.go}", { cwd: project })
    .filter((file) => file !== "docs/upgrade.md")
    .sort();

/** A text that names the version of package.json, and no other version of this project. */
export const withVersion = (text: string): string => text.replaceAll(named, `$1${manifest.version}`);
