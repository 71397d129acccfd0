/** Names that secrets go by: the credentials of S3, and what a configuration takes from the environment. */
const SECRET = /^AWS_|SECRET|PASSW|TOKEN|CREDENTIAL|ACCESS_?KEY|PRIVATE_?KEY/i;

/**
 * Our environment without what sounds like a secret, for programs that are run for us: what they start may inherit it,
 * and keep it for years.
 */
export function childEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !SECRET.test(name)));
}
