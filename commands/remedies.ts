/** Whether `npm run migrate` makes a login of this name, or AWS' rotation does. */
export const isOurs = (login: string): boolean => /^veza_ledger(_sampler|_receiver|_oncall)?(_clone)?$/.test(login);

export const view = "let the role read a view instead: docs/what-counts.md";
export const ownedView = "let a role without a login own a view: docs/what-counts.md, Rows that policies hide";
export const correct = `correct these rows and what writes them, or ${view}`;
