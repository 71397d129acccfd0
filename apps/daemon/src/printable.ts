// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const COLOUR_OR_CONTROL = /(\x1b\[[\d;]*m)|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

/**
 * Text as it may go to a terminal: without control characters but for line ends, tabs and colours. Somebody who can
 * write to a store could otherwise make the terminal show what is not so.
 */
export function printable(text: string): string {
  return text.replace(COLOUR_OR_CONTROL, (_, colour: string | undefined) => colour ?? "\ufffd");
}
