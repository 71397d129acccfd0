/**
 * One check of a contract. It needs no test runner: `run` rejects when the contract is broken. With vitest, mocha or
 * `node:test`, that is `for (const contractCase of cases) it(contractCase.name, contractCase.run)`.
 */
export interface ContractCase {
  readonly name: string;
  run(): Promise<void>;
}
