/** Port of the receiver, of `npm start` and `npm run serve` by default, and that `npm run send` posts to. */
export const receiverPort = 8080;

/** Signs deliveries to that receiver. It is public: it protects only a demo ledger on 127.0.0.1. */
export const demoSecret = `whsec_${Buffer.from("public secret of the local stack").toString("base64")}`;
