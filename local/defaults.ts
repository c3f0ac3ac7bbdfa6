/** Ports that the local stack tries first. */
export const pushgatewayPort = 9091;
export const postgresPort = 5433;
/** How long the Pushgateway is away when it has died. */
export const gatewayPauseSeconds = 2;
export const prometheusPort = 9090;
export const grafanaPort = 3000;
