import { type FoundProgram, findBy, type Source, sources } from "../../local/find-program.ts";

const victoriaMetrics = {
  debianPackages: ["victoria-metrics"],
  elsewhere: "https://github.com/VictoriaMetrics/VictoriaMetrics/releases",
  otherwise: "do without the tests on VictoriaMetrics",
};

/** The programs that tests start, with the demo's. */
const all = {
  ...sources,
  amtool: {
    names: ["amtool"],
    debianPackages: ["prometheus-alertmanager"],
    elsewhere: "https://prometheus.io/download/#alertmanager",
    otherwise: "do without the tests of the routes",
  },
  alertmanager: {
    names: ["alertmanager", "prometheus-alertmanager"],
    debianPackages: ["prometheus-alertmanager"],
    debianFile: "usr/bin/prometheus-alertmanager",
    elsewhere: "https://prometheus.io/download/#alertmanager",
    otherwise: "do without the tests of notifications",
  },
  pgbouncer: {
    names: ["pgbouncer"],
    debianPackages: ["pgbouncer"],
    debianFile: "usr/sbin/pgbouncer",
    elsewhere: "https://www.pgbouncer.org",
    otherwise: "do without the tests on a pooler",
  },
  nginx: {
    names: ["nginx"],
    debianPackages: ["nginx"],
    debianFile: "usr/sbin/nginx",
    elsewhere: "https://nginx.org",
    otherwise: "do without the tests of the receiver's site",
  },
  "victoria-metrics": { names: ["victoria-metrics", "victoria-metrics-prod"], ...victoriaMetrics },
  vmalert: { names: ["vmalert", "vmalert-prod"], ...victoriaMetrics },
  "vmalert-tool": { names: ["vmalert-tool", "vmalert-tool-prod"], ...victoriaMetrics },
} satisfies Record<string, Source>;

export type ProgramName = keyof typeof all;

/** As the demo finds its programs. */
export const findProgram = (name: ProgramName): Promise<FoundProgram> => findBy(all[name]);
