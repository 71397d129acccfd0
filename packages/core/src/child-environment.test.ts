import { afterEach, expect, it, vi } from "vitest";
import { childEnvironment } from "./child-environment.ts";

afterEach(() => vi.unstubAllEnvs());

it.each(["AWS_PROFILE", "STORE_PASSWORD", "hook_token", "MY_SECRET", "S3_ACCESS_KEY", "PRIVATEKEY"])(
  "leaves out %s",
  (name) => {
    vi.stubEnv(name, "a secret");
    expect(childEnvironment()).not.toHaveProperty(name);
  },
);

it("hands on what is no secret", () => {
  vi.stubEnv("ZOO_LOG_DIR", "/var/log/zookeeper");
  expect(childEnvironment()).toMatchObject({ ZOO_LOG_DIR: "/var/log/zookeeper" });
});
