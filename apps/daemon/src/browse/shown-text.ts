// What ends a line, steers a terminal, or turns the direction of what follows; and halves of characters.
const NOT_FOR_A_LINE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/**
 * A name out of ZooKeeper as it may stand in a line of text: what is not to be seen is written as `\u{1b}`. Servers
 * refuse most of it in a path, but an ACL may hold anything, and a file may be made by hand.
 */
export function shown(text: string): string {
  return text.replace(NOT_FOR_A_LINE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}
