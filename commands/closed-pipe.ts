// `npm run doctor | head` closes the pipe: nobody reads the rest, and the command goes on to its end and its exit code.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}
