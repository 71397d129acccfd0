export { type CliSurroundings, runCli } from "./cli.ts";
export { ExitCode } from "./exit-codes.ts";
