import { errorFields } from "../../lib/log.ts";
import { SecretsError } from "../../lib/secrets.ts";
import { loadSettings } from "../../lib/settings.ts";
import { type Finding, type Scene, well, wrong } from "../look.ts";

const unread =
  "check its name, the region, and your AWS credentials: aws sts get-caller-identity. Running functions use " +
  'the last good secret meanwhile, and log "secrets not read again"';

/** Whether the settings are all there, and valid: in the environment, and in the secret if there is one. */
export async function lookAtSettings(scene: Scene): Promise<Finding> {
  try {
    scene.settings = await loadSettings(scene.functions.receiver ? "receiver" : "sampler");
    return well("valid");
  } catch (error) {
    return wrong(errorFields(error).reason, error instanceof SecretsError ? unread : "see docs/settings.md");
  }
}
