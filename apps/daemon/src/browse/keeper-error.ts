/** Names of ZooKeeper's error codes (KeeperException.Code), as clients report them. */
const NAMES: Readonly<Record<number, string>> = {
  [-1]: "SystemError",
  [-2]: "RuntimeInconsistency",
  [-3]: "DataInconsistency",
  [-4]: "ConnectionLoss",
  [-5]: "MarshallingError",
  [-6]: "Unimplemented",
  [-7]: "OperationTimeout",
  [-8]: "BadArguments",
  [-12]: "UnknownSession",
  [-13]: "NewConfigNoQuorum",
  [-14]: "ReconfigInProgress",
  [-100]: "APIError",
  [-101]: "NoNode",
  [-102]: "NoAuth",
  [-103]: "BadVersion",
  [-108]: "NoChildrenForEphemerals",
  [-110]: "NodeExists",
  [-111]: "NotEmpty",
  [-112]: "SessionExpired",
  [-113]: "InvalidCallback",
  [-114]: "InvalidACL",
  [-115]: "AuthFailed",
  [-118]: "SessionMoved",
  [-119]: "NotReadOnly",
  [-120]: "EphemeralOnLocalSession",
  [-121]: "NoWatcher",
  [-122]: "RequestTimeout",
  [-123]: "ReconfigDisabled",
  [-124]: "SessionClosedRequireSaslAuth",
  [-125]: "QuotaExceeded",
  [-127]: "ThrottledOp",
};

/** Such as `NoNode`, or null for a code that no release up to 3.9 has. */
export function keeperErrorName(code: number): string | null {
  return NAMES[code] ?? null;
}
