import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "zk-backyp-bosh-cli-"));
  // What was found is remembered by the module.
  vi.resetModules();
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

function program(name: string, output: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\necho '${output}'\n`);
  chmodSync(path, 0o755);
  return path;
}

it.each(["version 7.9.13", "version 10.0.0-abc", "version [DEV BUILD]"])(
  "takes what BOSH_CLI names: %s",
  async (output) => {
    const path = program("some-bosh", output);
    vi.stubEnv("BOSH_CLI", path);
    const { boshCli } = await import("./bosh-cli.ts");
    expect(await boshCli()).toBe(path);
  },
);

it.each([
  ["the gem of version 1", "BOSH 1.3262.24.0"],
  ["a CLI of version 6", "version 6.4.17-0fc4ac4b-2022"],
  ["another program", "hello"],
])("refuses %s as BOSH_CLI", async (_what, output) => {
  vi.stubEnv("BOSH_CLI", program("some-bosh", output));
  const { BoshCliMissingError, boshCli } = await import("./bosh-cli.ts");
  await expect(boshCli()).rejects.toThrow("which is no bosh CLI 7 that runs here");
  await expect(boshCli()).rejects.toBeInstanceOf(BoshCliMissingError);
});

it("takes bosh on the PATH before it builds one", async () => {
  program("bosh", "version 7.9.13");
  vi.stubEnv("BOSH_CLI", "");
  vi.stubEnv("PATH", folder);
  const { boshCli } = await import("./bosh-cli.ts");
  expect(await boshCli()).toBe("bosh");
});
