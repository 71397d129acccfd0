import { BackypError, type Bytes, type Capture, type Entry, isBackypError, type Verifier } from "@zk-backyp/core";

/**
 * A capture from links whose errors name the files that the links stand for: when a person reads them, the links are gone.
 *
 * @param originals the folder that each folder of links stands for
 */
export async function namedByOriginal(
  open: () => Promise<Capture>,
  originals: ReadonlyMap<string, string>,
): Promise<Capture> {
  const named = (error: unknown): unknown => {
    if (!isBackypError(error)) return error;
    const message = [...originals].reduce((text, [links, folder]) => text.replaceAll(links, folder), error.message);
    return new BackypError(error.code, message, { cause: error.cause ?? error, details: error.details });
  };
  const namedIn = async function* <Item>(items: AsyncIterable<Item>): AsyncGenerator<Item, void, void> {
    try {
      yield* items;
    } catch (error) {
      throw named(error);
    }
  };
  const withNamedBody = (entry: Entry): Entry => ({ ...entry, body: namedIn(entry.body) satisfies Bytes });

  let capture: Capture;
  try {
    capture = await open();
  } catch (error) {
    throw named(error);
  }
  const { verifier } = capture;
  const namedVerifier: Verifier = {
    watch: (entry) => withNamedBody(verifier.watch(entry)),
    finish() {
      try {
        return verifier.finish();
      } catch (error) {
        throw named(error);
      }
    },
  };
  return {
    get facts() {
      return capture.facts;
    },
    estimatedBytes: capture.estimatedBytes,
    verifier: namedVerifier,
    entries: () => namedIn(capture.entries()),
    close: () => capture.close(),
  };
}
