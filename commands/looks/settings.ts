import { errorFields } from "../../lib/log.ts";
import { SecretsError } from "../../lib/secrets.ts";
import { loadSettings } from "../../lib/settings.ts";
import { type Finding, type Scene, well, wrong } from "../look.ts";

const load = ({ functions }: Scene) => loadSettings(functions.receiver ? "receiver" : "sampler");

/** Whether the secret can be read, where there is one. */
export async function lookAtSecret(scene: Scene): Promise<Finding | undefined> {
  if (!process.env.SECRET_ID) return undefined;
  const error = await load(scene).then(
    () => undefined,
    (error) => error,
  );
  if (!(error instanceof SecretsError)) return well(`${process.env.SECRET_ID} is readable`);
  return wrong(
    error.message,
    "check its name, the region, and your AWS credentials: aws sts get-caller-identity. Running functions use " +
      'the last good secret meanwhile, and log "secrets not read again"',
  );
}

/** Whether the settings are all there, and valid. */
export async function lookAtSettings(scene: Scene): Promise<Finding> {
  try {
    scene.settings = await load(scene);
    return well("valid");
  } catch (error) {
    return wrong(errorFields(error).reason, "see docs/settings.md");
  }
}
