// The dashboard. `npm run generate` makes ledger.json of it, which people import into Grafana. Here are the values that
// its parts share, and that you may have to change. The parts:
//   queries.ts  what the panels ask Prometheus
//   panels.ts   how the kinds of panels look: frames, links, legends
//   rows/       the panels themselves, a file for each row: from which value on one is red, and its texts
//   layout.ts   the head, the order of the rows, and where each panel stands

const documentsUrl = "https://repository.example/docs";
/** A link to a document, for the text of a panel: Grafana reads these texts as Markdown. */
export const documentOf = (name: string) => `[docs/${name}](${documentsUrl}/${name})`;
/** The URL of an alert's entry in the runbook, or of the runbook's index by the name README. */
export const entryOf = (alert: string) => `${documentsUrl}/runbook/${alert}.md`;
// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana puts in the data source that the reader has chosen.
export const datasource = { type: "prometheus", uid: "${datasource}" };
/** "All" is `.*`, which also selects series without the label: a set-up without STAGE sees its numbers too. */
export const ofStage = 'stage=~"$stage"';
/** A gateway keeps the last numbers for ever. From this age on they are unknown, as in VezaLedgerSamplerSilent. */
export const silentAfterSeconds = 180;
