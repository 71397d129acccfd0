export { type NodeControlContractOptions, type NodeUnderTest, nodeControlContract } from "./node-control-contract.ts";
