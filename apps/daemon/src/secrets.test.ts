import { afterEach, expect, it, vi } from "vitest";
import { withSecrets } from "./secrets.ts";

afterEach(() => vi.unstubAllEnvs());

it("takes what it reads out of the environment, and knows it when it is asked again", () => {
  vi.stubEnv("STORE_KEY_OF_THE_TEST", "a secret");
  const read = (): unknown => withSecrets({ key: { env: "STORE_KEY_OF_THE_TEST" } }, "/", "sink");
  expect(read()).toEqual({ key: "a secret" });
  expect(process.env.STORE_KEY_OF_THE_TEST).toBeUndefined();
  expect(read()).toEqual({ key: "a secret" });
  vi.stubEnv("STORE_KEY_OF_THE_TEST", "another");
  expect(read()).toEqual({ key: "another" });
});

it("leaves what others look for as well", () => {
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "a secret");
  expect(withSecrets({ key: { env: "AWS_SECRET_ACCESS_KEY" } }, "/", "sink")).toEqual({ key: "a secret" });
  expect(process.env.AWS_SECRET_ACCESS_KEY).toBe("a secret");
});

it("says which variable is not set", () => {
  expect(() => withSecrets({ key: { env: "NO_SUCH_VARIABLE" } }, "/", "sink")).toThrow(
    expect.objectContaining({
      code: "ERR_CONFIG_INVALID",
      message: expect.stringMatching(/^sink\.key: .*NO_SUCH_VARIABLE/),
    }),
  );
});
