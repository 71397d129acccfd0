/**
 * Whether a znode's path matches: `*` and `?` stay within a name, `**` crosses `/`, and `/a/**` is `/a` and all below
 * it. `\` takes the meaning from the character after it.
 */
export function pathMatcher(glob: string): (path: string) => boolean {
  const below = glob.endsWith("/**");
  const body = (below ? glob.slice(0, -3) : glob).replace(
    /\\(.)|(\*\*+)|(\*)|(\?)|([^\w/])/gsu,
    (_, escaped: string | undefined, all, some, one, other: string | undefined) =>
      all ? ".*" : some ? "[^/]*" : one ? "[^/]" : literal(escaped ?? other ?? ""),
  );
  const pattern = new RegExp(`^${body}${below ? "(?:/.*)?" : ""}$`, "su");
  return (path) => pattern.test(path);
}

function literal(character: string): string {
  return /[\w/]/.test(character) ? character : `\\u{${character.codePointAt(0)?.toString(16)}}`;
}
