import { defineConfig } from "vitest/config";

// Unit tests need nothing but Node; integration tests need the real servers (see packages/testbed); the campaign repeats
// dangers for minutes and runs by itself (`npm run test:campaign`); so does the matrix, with servers of every release
// line (`npm run test:matrix`), and the BOSH release, made and deployed without a Director (`npm run test:bosh`).
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["{packages,apps}/*/src/**/*.test.ts", "packages/bosh-release/tools/**/*.test.ts"],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: "integration",
          include: ["{packages,apps,examples}/*/test/**/*.test.ts"],
          // Real servers, supervisors and signals on a machine that may be busy: what fails must do so twice. The report
          // says which.
          retry: 1,
          testTimeout: 120_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: "campaign",
          include: ["{packages,apps}/*/campaign/**/*.test.ts"],
          testTimeout: 1_800_000,
          hookTimeout: 120_000,
          maxWorkers: 1,
        },
      },
      {
        test: {
          name: "matrix",
          include: ["packages/*/matrix/**/*.test.ts"],
          // Six releases' ensembles elect, die and catch up under load: what fails must do so twice. The report says which.
          retry: 1,
          testTimeout: 300_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: "bosh",
          include: ["packages/bosh-release/deployment/**/*.test.ts"],
          // Whole deployments on a machine that may be busy: what fails must do so twice. The report says which.
          retry: 1,
          testTimeout: 900_000,
          hookTimeout: 900_000,
          maxWorkers: 2,
        },
      },
    ],
  },
});
