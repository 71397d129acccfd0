export { codecContract } from "./codec-contract.ts";
export type { ContractCase } from "./contract-case.ts";
export { electionContract } from "./election-contract.ts";
export { type Fault, type Faults, withFaults } from "./faults.ts";
export { memorySink } from "./memory-sink.ts";
export { type ScriptedSource, scriptedSource } from "./scripted-source.ts";
export { type SimulatedClock, simulatedClock } from "./simulated-clock.ts";
export { type SinkContractOptions, sinkContract } from "./sink-contract.ts";
export { type SourceUnderTest, sourceContract } from "./source-contract.ts";
