// Every command imports this file. `npm run doctor | head` closes the pipe: nobody reads the rest, so the command ends.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});
