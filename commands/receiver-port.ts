/** Port of the receiver, of `npm start` and `npm run serve` by default, and that `npm run send` posts to. */
export const receiverPort = 8080;
