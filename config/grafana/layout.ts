import * as grafana from "@grafana/grafana-foundation-sdk/dashboard";
import { sampleDurationMetric } from "../../lib/counts/sample.ts";
import { datasource, entryOf } from "./dashboard.ts";
import { type AnyPanel, link } from "./panels.ts";
import { pages } from "./queries.ts";
import { agePanels } from "./rows/ages.ts";
import { trustPanels } from "./rows/alerts-and-trust.ts";
import { countPanels } from "./rows/counts.ts";
import { evidencePanels } from "./rows/evidence.ts";
import { reconcilerPanels } from "./rows/reconciler.ts";

/**
 * Returns the dashboard: its head, and its rows with their panels in the order in which they are read. In the classic
 * format, not the newer v2: every Grafana imports it.
 */
export function ledgerDashboard(): grafana.Dashboard {
  const stages = `label_values(${sampleDurationMetric}, stage)`;
  const builder = new grafana.DashboardBuilder("Veza ledger")
    .uid("veza-ledger")
    .description("Is money stuck, can these numbers be trusted, and is the reconciler winning?")
    .tags(["veza", "ledger"])
    .readonly()
    .refresh("1m")
    .time({ from: "now-6h", to: "now" })
    .timezone("browser")
    .tooltip(grafana.DashboardCursorSync.Crosshair)
    .link(link("Runbook", entryOf("README")))
    .annotations([
      new grafana.AnnotationQueryBuilder()
        .name("Pages")
        .datasource(datasource)
        .enable(true)
        .iconColor("red")
        // Only its start: a page that fires for days would tint all panels for days.
        .expr(`${pages()} unless ${pages(" offset 1m")}`)
        .step("60s")
        .titleFormat("{{alertname}}")
        .textFormat("{{check}} {{stage}}"),
      // Your pipeline posts them: the runbook says how.
      new grafana.AnnotationQueryBuilder()
        .name("Deploys")
        .datasource({ type: "grafana", uid: "-- Grafana --" })
        .enable(true)
        .iconColor("blue")
        .target({ build: () => ({ type: "tags", tags: ["deploy"], matchAny: true, limit: 100 }) as never }),
    ])
    .variables([
      new grafana.DatasourceVariableBuilder("datasource").label("Prometheus").type("prometheus"),
      new grafana.QueryVariableBuilder("stage")
        .label("Stage")
        .datasource(datasource)
        .query(stages)
        .definition(stages)
        .refresh(grafana.VariableRefresh.OnTimeRangeChanged)
        .sort(grafana.VariableSort.AlphabeticalAsc)
        .multi(true)
        .includeAll(true)
        .allValue(".*")
        .current({ selected: true, text: ["All"], value: ["$__all"] }),
    ]);
  const rows: [title: string, panels: AnyPanel[]][] = [
    ["What fires, and can I trust it?", trustPanels()],
    ["Is money stuck?", countPanels()],
    ["How bad is it?", agePanels()],
    ["Is the reconciler winning?", reconcilerPanels()],
    ["Could a check have missed something?", evidencePanels()],
  ];
  for (const [title, panels] of rows) {
    builder.withRow(new grafana.RowBuilder(title));
    for (const panel of panels) builder.withPanel(panel);
  }
  const dashboard = builder.build();
  const panels = (dashboard.panels ?? []) as grafana.Panel[];
  for (const [index, panel] of panels.entries()) panel.id = index + 1;
  arrange(panels);
  return dashboard;
}

/**
 * Puts each panel as far up as it fits, and then as far left. The builder cannot put two panels next to a taller one.
 */
function arrange(panels: grafana.Panel[]): void {
  const bottoms = Array<number>(24).fill(0);
  for (const { gridPos } of panels) {
    if (!gridPos) continue;
    const { w, h } = gridPos;
    const places = Array.from({ length: 24 - w + 1 }, (_, x) => ({ x, y: Math.max(...bottoms.slice(x, x + w)) }));
    const highest = places.reduce((best, place) => (place.y < best.y ? place : best));
    Object.assign(gridPos, highest);
    bottoms.fill(highest.y + h, highest.x, highest.x + w);
  }
}
