// IAM authentication in RDS, and the id by which policies name the database.
import { setTimeout as sleep } from "node:timers/promises";
import {
  DescribeDBClustersCommand,
  DescribeDBInstancesCommand,
  ModifyDBClusterCommand,
  ModifyDBInstanceCommand,
  RDSClient,
} from "@aws-sdk/client-rds";
import { limits } from "./clients.ts";
import { Correction, type Stage, setName } from "./stage.ts";

const pollMs = 5_000;
const timeoutMs = 15 * 60_000;

export async function turnOnIam({ stage, database }: Stage): Promise<void> {
  const rds = new RDSClient(limits);
  const [name = ""] = database.split(".");
  const isCluster = database.includes(".cluster-");
  const about = async () => {
    if (isCluster) {
      const { DBClusters: [it] = [] } = await rds.send(new DescribeDBClustersCommand({ DBClusterIdentifier: name }));
      return { ...it, id: it?.DbClusterResourceId };
    }
    const { DBInstances: [it] = [] } = await rds.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: name }));
    return { ...it, id: it?.DbiResourceId };
  };
  const { id = "", IAMDatabaseAuthenticationEnabled: isOn, PendingModifiedValues } = await about();
  if (isOn) {
    console.log(`Kept: IAM is on in ${name}`);
  } else {
    const { IAMDatabaseAuthenticationEnabled: _, ...others } = PendingModifiedValues ?? {};
    // AWS would apply them, too.
    const pending = Object.entries(others).map(([what, value]) => `${what}: ${JSON.stringify(value)}`);
    if (pending.length > 0) {
      throw new Correction(
        `Nothing was changed: ${name} has pending changes, ${pending.join(", ")}. Wait for its maintenance window.`,
      );
    }
    const change = { ApplyImmediately: true, EnableIAMDatabaseAuthentication: true };
    await (isCluster
      ? rds.send(new ModifyDBClusterCommand({ ...change, DBClusterIdentifier: name }))
      : rds.send(new ModifyDBInstanceCommand({ ...change, DBInstanceIdentifier: name })));
    console.log(`Turned on in ${name}. This takes some minutes.`);
    const until = Date.now() + timeoutMs;
    while (!(await about()).IAMDatabaseAuthenticationEnabled) {
      if (Date.now() > until) throw new Correction("It is not on after 15 minutes.");
      await sleep(pollMs);
    }
  }
  setName(stage, "databaseResourceId", id);
}
