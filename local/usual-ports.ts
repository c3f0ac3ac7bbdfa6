/** Ports that the local stack tries first. */
export const pushgatewayPort = 9091;
export const postgresPort = 5433;
export const prometheusPort = 9090;
