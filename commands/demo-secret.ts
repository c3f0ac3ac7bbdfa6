/** Signs deliveries to the receiver that `npm start` runs. It is public: it protects only a demo on 127.0.0.1. */
export const demoSecret = `whsec_${Buffer.from("public secret of the local stack").toString("base64")}`;
