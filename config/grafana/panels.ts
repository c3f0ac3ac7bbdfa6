import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import * as common from "@grafana/grafana-foundation-sdk/common";
import * as grafana from "@grafana/grafana-foundation-sdk/dashboard";
import type { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as Stat } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TimeSeries } from "@grafana/grafana-foundation-sdk/timeseries";
import { ranked, told } from "../words-of-checks.ts";
import { datasource, entryOf } from "./dashboard.ts";

// What the panels have in common: frames, links, and how colours and texts are given. rows/ has the panels, each with
// the values from which on it is orange or red.

/** What every panel has. `links` are its links to the runbook, which open from the icon next to the title. */
interface Frame {
  title: string;
  description: string;
  unit: "none" | "s" | "percent";
  size: [width: number, height: number];
  links: Builder<grafana.DashboardLink>[];
  targets: DataqueryBuilder[];
}

/** The methods that the builders of all kinds of panels share. */
export interface AnyPanel extends Builder<grafana.Panel> {
  title(title: string): this;
  description(description: string): this;
  unit(unit: string): this;
  decimals(decimals: number): this;
  span(width: number): this;
  height(height: number): this;
  datasource(datasource: common.DataSourceRef): this;
  links(links: Builder<grafana.DashboardLink>[]): this;
  targets(targets: DataqueryBuilder[]): this;
}

/** Gives a panel what every panel has, and returns it. */
export function frame<Panel extends AnyPanel>(panel: Panel, frame: Frame): Panel {
  return panel
    .title(frame.title)
    .description(frame.description.replaceAll(/\n +/g, " "))
    .unit(frame.unit)
    .decimals(frame.unit === "s" ? 1 : 0)
    .span(frame.size[0])
    .height(frame.size[1])
    .datasource(datasource)
    .links(frame.links)
    .targets(frame.targets.map((target, index) => target.refId(refId(index)).datasource(datasource)));
}

/** `A` for the first query of a panel. */
export const refId = (index: number) => String.fromCharCode(65 + index);

/** A link that opens in a tab of its own, unless `targetBlank` is false. */
export function link(title: string, url: string, targetBlank = true): Builder<grafana.DashboardLink> {
  // The builder always sets `placement`, which would move the dashboard's link out of sight, into a menu.
  const { placement, ...visible } = new grafana.DashboardLinkBuilder(title).url(url).targetBlank(targetBlank).build();
  return { build: () => visible };
}

/** Links to the runbook's entries about these alerts. */
export const runbook = (...names: string[]) => names.map((alert) => link(`Runbook: ${alert}`, entryOf(alert)));

/**
 * Big numbers, one per stage and below each other, on a background that says how bad it is. A click selects the stage.
 */
export const stat = (about: Frame) =>
  frame(new Stat(), about)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .graphMode(common.BigValueGraphMode.None)
    .colorMode(common.BigValueColorMode.Background)
    .orientation(common.VizOrientation.Horizontal)
    // Below its name, a value takes the room that it has: large for one stage, and "unknown" still fits at two.
    .wideLayout(false)
    .text(new common.VizTextDisplayOptionsBuilder().titleSize(13))
    .dataLinks([
      link(
        "This stage alone",
        // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana puts these in.
        "/d/veza-ledger?var-datasource=${datasource}&var-stage=${__field.labels.stage}&${__url_time_range}",
        false,
      ),
    ]);

/**
 * Lines over time. Wide ones have their legend next to them, with one value: the highest where a tile has the current
 * one.
 */
export const timeSeries = (about: Frame, calc: "max" | "lastNotNull" = "max") => {
  const isWide = about.size[0] > 12;
  const legend = new common.VizLegendOptionsBuilder()
    .showLegend(true)
    .displayMode(isWide ? common.LegendDisplayMode.Table : common.LegendDisplayMode.List)
    .placement(isWide ? common.LegendPlacement.Right : common.LegendPlacement.Bottom)
    .calcs(isWide ? [calc] : []);
  const panel = frame(new TimeSeries(), about)
    .lineInterpolation(common.LineInterpolation.StepAfter)
    .lineWidth(2)
    .fillOpacity(0)
    .noValue(noSeries)
    .legend(legend)
    .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi))
    // Each check has one colour, and so production's lines are solid, and other stages' lines are dashed. A line's name
    // ends in its stage. Without a stage, it ends in a space and is solid, too.
    .overrideByRegexp("/(?<! |prod|production)$/", [{ id: "custom.lineStyle", value: { fill: "dash", dash: [4, 6] } }]);
  // Where all is 0, Grafana would draw an axis up to 100.
  return about.unit === "none" ? panel.axisSoftMax(5) : panel;
};

/** Shows a text in a colour instead of a value. */
export const textFor = (texts: Record<string, [text: string, color: string]>): grafana.ValueMap => ({
  type: grafana.MappingType.ValueToText,
  options: Object.fromEntries(
    Object.entries(texts).map(([value, [text, color]], index) => [value, { text, color, index }]),
  ),
});

/** The colour of a value, from each step on. Green up to the first step. */
export const thresholds = (steps: Record<number, string>) =>
  new grafana.ThresholdsConfigBuilder()
    .mode(grafana.ThresholdsMode.Absolute)
    .steps([
      { value: null, color: "green" },
      ...Object.entries(steps).map(([value, color]) => ({ value: Number(value), color })),
    ]);

/** Properties that give a series one colour. */
export const colored = (color: string): grafana.DynamicConfigValue[] => [
  { id: "color", value: { mode: "fixed", fixedColor: color } },
];

/** The colours of lines whose names begin with these words. */
export function colorLines<Panel extends TimeSeries>(panel: Panel, colors: Record<string, string>): Panel {
  for (const [name, color] of Object.entries(colors)) panel.overrideByRegexp(`/^${name}\\b/`, colored(color));
  return panel;
}
/** By the check's id. */
export const colorsOfChecks = Object.fromEntries(ranked.map(({ id }) => [id, told[id].color]));

export const noSeries = "unknown: no series";
/** For a cell without a value. Grafana would put the message of the empty table there. */
export const blank: grafana.DynamicConfigValue = { id: "noValue", value: "" };
export const unknown: [string, string] = ["unknown", "purple"];
export const never: [string, string] = ["never", "red"];
