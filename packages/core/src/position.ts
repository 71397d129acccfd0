/**
 * A point in a source's history, as text. Positions order by length first and then character by character, so that
 * hexadecimal numbers without leading zeros (ZooKeeper: `0x22` before `0x100000001`) and numbers padded to one
 * length both order as their values do.
 */
export type Position = string;

/** History covered: everything after `after` (null: from the beginning) up to and including `upTo`. */
export interface PositionRange {
  readonly after: Position | null;
  readonly upTo: Position;
}
