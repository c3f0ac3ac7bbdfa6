import { ClusterRegistry } from "prom-client";

/** One measured series. A histogram's series have the names `…_bucket`, `…_sum` and `…_count`. */
export interface Series {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export const series = (name: string, labels: Series["labels"], value: number): Series => ({ name, labels, value });

/** Identifies a series: by its name and its labels, in whatever order they come. */
export const keyOf = ({ name, labels }: Series): string => name + JSON.stringify(labels, Object.keys(labels).sort());

/** A metric, as its HELP and TYPE lines describe it. */
export interface Family {
  name: string;
  help: string;
  type: "counter" | "gauge" | "histogram";
}

export const family = (type: Family["type"], name: string, help: string): Family => ({ name, help, type });

/**
 * Returns series in Prometheus' text format, in the order of their families. A family without series is left out:
 * prom-client's own metrics would export an unmeasured 0. Its JSON form is also the only way to set a histogram.
 */
export function expose(families: readonly Family[], measured: readonly Series[]): Promise<string> {
  const metrics = families.map((family) => ({
    ...family,
    aggregator: "sum",
    values: measured
      .filter(({ name }) => name.replace(family.type === "histogram" ? /_(bucket|sum|count)$/ : "", "") === family.name)
      .map(({ name: metricName, labels, value }) => ({ metricName, labels, value })),
  }));
  return ClusterRegistry.aggregate([metrics.filter(({ values }) => values.length > 0)]).metrics();
}
