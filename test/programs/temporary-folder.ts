import { useTemporaryFolder } from "../helpers/temporary-folder.ts";

// A run of the tests, as far as its temporary folder goes.
useTemporaryFolder();
console.log(`folder ${process.env.TMPDIR}`);
setInterval(() => {}, 60_000);
