/** Signs deliveries to the local stack, and is public: it protects nothing but a demo ledger on 127.0.0.1. */
export const demoSecret = `whsec_${Buffer.from("public secret of the local stack").toString("base64")}`;

/** Ports that the local stack tries first. */
export const receiverPort = 8080;
export const pushgatewayPort = 9091;
export const postgresPort = 5433;
export const prometheusPort = 9090;
export const grafanaPort = 3000;
