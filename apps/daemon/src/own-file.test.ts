import { chmod, chown, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { requireOwnFile } from "./own-file.ts";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "zk-backyp-own-")));
  file = join(folder, "inner/helper.yaml");
  await mkdir(join(folder, "inner"));
  await writeFile(file, "helper: {}\n", { mode: 0o644 });
  for (const place of [folder, join(folder, "inner")]) await chmod(place, 0o755);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("a file that only its user can change", () => {
  it("is taken, by its path without links", async () => {
    const link = join(folder, "link.yaml");
    await symlink("inner/helper.yaml", link);
    expect(await requireOwnFile(link)).toBe(file);
  });

  it("is taken below a folder that everybody writes to but nobody may take names in", async () => {
    await chmod(folder, 0o1777);
    expect(await requireOwnFile(file)).toBe(file);
  });
});

describe("a file is refused that others can change:", () => {
  it.each([
    ["its group", "inner/helper.yaml", 0o664],
    ["everybody", "inner/helper.yaml", 0o646],
    ["everybody, though it is sticky", "inner/helper.yaml", 0o1646],
    ["the group of its folder", "inner", 0o775],
    ["everybody, by a folder above it", "", 0o757],
  ])("%s", async (_who, place, mode) => {
    await chmod(join(folder, place), mode);
    await expect(requireOwnFile(file)).rejects.toMatchObject({
      code: "ERR_CONFIG_INVALID",
      message: expect.stringMatching(/can be written by its group or by everybody \(mode .*chmod go-w/),
      details: { path: join(folder, place).replace(/\/$/, "") },
    });
  });

  it.skipIf(process.getuid?.() !== 0).each(["inner/helper.yaml", "inner"])(
    "another user than root, who owns %s",
    async (place) => {
      await chown(join(folder, place), 65534, 65534);
      await expect(requireOwnFile(file)).rejects.toMatchObject({
        code: "ERR_CONFIG_INVALID",
        message: expect.stringMatching(/belongs to uid 65534/),
      });
    },
  );

  it("whoever can, where it is reached through a link", async () => {
    const link = join(folder, "link.yaml");
    await symlink("inner/helper.yaml", link);
    await chmod(file, 0o666);
    await expect(requireOwnFile(link)).rejects.toMatchObject({ details: { path: file } });
  });
});

it("a file that is not there is no configuration", async () => {
  await expect(requireOwnFile(join(folder, "none.yaml"))).rejects.toMatchObject({
    code: "ERR_CONFIG_INVALID",
    message: expect.stringMatching(/^cannot read .*none\.yaml: ENOENT/),
  });
});
