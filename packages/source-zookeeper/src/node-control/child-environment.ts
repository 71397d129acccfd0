/** Names that secrets go by: the credentials of S3, and what a configuration takes from the environment. */
const SECRET = /^AWS_|SECRET|PASSW|TOKEN|CREDENTIAL|ACCESS_?KEY|PRIVATE_?KEY/i;

/**
 * Our environment without what sounds like a secret, for what is run to start and stop the node: the node's own process
 * may inherit it, and keep it for years.
 */
export function childEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !SECRET.test(name)));
}
