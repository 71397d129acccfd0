/**
 * Whether a znode's path matches: `*` and `?` stay within a name, and `**` crosses `/`. As a whole name `**` stands for
 * any number of them, also none: `/a/**` is `/a` and all below it. `\` takes the meaning from the character after it.
 */
export function pathMatcher(glob: string): (path: string) => boolean {
  const pattern = glob.replace(
    /\\(.)|(\/\*\*+(?=\/|$))|(\*\*+)|(\*)|(\?)|([^\w/])/gsu,
    (_, escaped: string | undefined, names, all, some, one, other: string | undefined) =>
      names ? "(?:/.*)?" : all ? ".*" : some ? "[^/]*" : one ? "[^/]" : literal(escaped ?? other ?? ""),
  );
  const whole = new RegExp(`^${pattern}$`, "su");
  return (path) => whole.test(path);
}

function literal(character: string): string {
  return /[\w/]/.test(character) ? character : `\\u{${character.codePointAt(0)?.toString(16)}}`;
}
