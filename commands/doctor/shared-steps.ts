// Steps that several looks print, each explained on a page.
export const readAView = "let the role read a view instead: docs/what-counts.md";
export const haveAnOwnedView = "let a role without a login own a view: docs/what-counts.md, Rows that policies hide";
export const correctRows = `correct these rows and what writes them, or ${readAView}`;
export const installAgain = "run config/postgres/install.sql again: docs/settings.md";
export const installForIam =
  "run step 3 of docs/deploy.md again: its -v iam=yes grants rds_iam, or says which other stage has a password";
