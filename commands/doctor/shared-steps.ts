// Steps that several looks print, each explained on a page.
export const readAView = "let the role read a view instead: docs/what-counts.md";
export const haveAnOwnedView = "let a role without a login own a view: docs/what-counts.md, Rows that policies hide";
export const correctRows = `correct these rows and what writes them, or ${readAView}`;
export const outboxAgain = "have the owner of ledger_outbox run clients/go/outbox.sql again";
export const installAgain = "run config/postgres/install.sql again: docs/settings.md";
export const namePrimary =
  "name the primary in the URL; where that leads to a pooler, have it lead to the primary alone: docs/settings.md";
