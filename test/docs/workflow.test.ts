// The workflows of GitHub: what an attacker of a pipeline looks for first, as the linter zizmor does.
import { readdir, readFile } from "node:fs/promises";
import { load } from "js-yaml";
import { describe, expect, it } from "vitest";
import { allows } from "../helpers/policy.ts";

interface Job {
  needs?: string;
  environment?: string;
  permissions?: Record<string, string>;
  "timeout-minutes"?: number;
  steps: { uses?: string; run?: string; with?: Record<string, unknown> }[];
}
interface Workflow {
  on: Record<string, unknown>;
  permissions: Record<string, string>;
  jobs: Record<string, Job>;
}

const files = ["deploy/workflow.yml"];
for (const name of await readdir(".github/workflows")) files.push(`.github/workflows/${name}`);
const read = async (file: string) => {
  const text = await readFile(file, "utf8");
  return { text, ...(load(text) as Workflow) };
};

describe.each(files)("%s", (file) => {
  it("pins each action to a commit, and says which version that is", async () => {
    const lines = (await read(file)).text.split("\n").filter((line) => line.includes("uses:"));
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) expect(line).toMatch(/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  it("gives its jobs no right that they do not need, and never runs for a stranger's code with secrets", async () => {
    const { text, on, permissions, jobs } = await read(file);
    expect(Object.keys(on)).not.toContain("pull_request_target");
    expect(Object.keys(on)).not.toContain("workflow_run");
    expect(text).not.toMatch(/\bsecrets\b/);
    expect([{}, { contents: "read" }]).toContainEqual(permissions);
    for (const job of Object.values(jobs)) {
      expect(job["timeout-minutes"]).toBeLessThanOrEqual(30);
      const { contents = "read", "id-token": token, ...others } = job.permissions ?? permissions;
      expect([contents, others]).toEqual(["read", {}]);
      if (token) expect(job).toMatchObject({ environment: expect.any(String), needs: expect.any(String) });
      for (const { uses = "", run = "", ...step } of job.steps) {
        if (uses.startsWith("actions/checkout@")) expect(step.with).toMatchObject({ "persist-credentials": false });
        // An expression in a script is replaced before a shell sees it.
        expect(run).not.toContain("${{");
        if (token) expect(run).not.toMatch(/npm (ci|install)(?! --ignore-scripts)/);
      }
    }
  });
});

describe("deploy/workflow.yml", async () => {
  const { build, deploy } = (await read("deploy/workflow.yml")).jobs;
  const indexOf = (job: Job | undefined, pattern: RegExp) =>
    job?.steps.findIndex(({ uses = "", run = "" }) => pattern.test(uses) || pattern.test(run)) ?? -1;

  it("builds without credentials or cache, and installs nothing once it has credentials", () => {
    expect(build?.permissions).toEqual({ contents: "read" });
    // A cache could hold what another workflow has written.
    const node = { "node-version-file": ".nvmrc", "package-manager-cache": false };
    for (const job of [build, deploy]) expect(job?.steps[indexOf(job, /setup-node@/)]?.with).toEqual(node);
    expect(indexOf(build, /credentials@/)).toBe(-1);
    // Installed code runs before there are credentials, and what was built is deployed with them.
    const order = [/--ignore-scripts/, /configure-aws-credentials@/, /--package build$/];
    const places = order.map((step) => indexOf(deploy, step));
    expect([0, ...places]).toEqual([0, ...places].sort((a, b) => a - b));
  });

  it("is trusted by either subject of GitHub's, and no other repository, branch or environment is", async () => {
    const trust = JSON.parse(await readFile("deploy/trust.json", "utf8"));
    const [{ Condition }] = trust.Statement;
    expect(Object.keys(Condition)).toEqual(["StringEquals"]);
    const claims = "token.actions.githubusercontent.com";
    const { [`${claims}:sub`]: subjects, [`${claims}:repository_id`]: id } = Condition.StringEquals;
    const assumes = (sub: string, { repository_id = id, aud = "sts.amazonaws.com" } = {}) => {
      const keys = { sub, repository_id, aud };
      const asKeys = Object.entries(keys).map(([key, value]) => [`${claims}:${key}`, value]);
      return allows(trust, "sts:AssumeRoleWithWebIdentity", "*", Object.fromEntries(asKeys));
    };
    for (const subject of [subjects].flat()) {
      // Repositories from before July 2026 send no numbers: there, the number of the repository is a claim of its own.
      const form = /^repo:[\w.-]+(?:@\d+\/[\w.-]+@(\d+)|\/[\w.-]+):environment:prod$/;
      expect(subject).toMatch(form);
      expect(form.exec(subject)?.[1] ?? id).toMatch(/^\d+$/);
      const others = [/^repo:/, /environment:.*/, /prod$/].map((part) => subject.replace(part, "repo:other"));
      expect([subject, ...others].map((sub) => assumes(sub))).toEqual([true, false, false, false]);
      expect(assumes(subject, { aud: "https://github.com/veza" })).toBe(false);
      // The owner's name was given up, and somebody else has taken it, and the repository's.
      if (id) expect(assumes(subject, { repository_id: "1" })).toBe(false);
    }
  });
});
