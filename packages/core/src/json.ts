/** A value that JSON holds without loss. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export type JsonObject = { readonly [key: string]: JsonValue };

/**
 * Whether two values say the same wherever both say something: of objects only the keys that both have count, so that
 * what one release began to record does not contradict what another did not.
 */
export function agree(a: JsonValue, b: JsonValue): boolean {
  if (isObject(a) && isObject(b)) {
    return Object.entries(a).every(([key, value]) => {
      const other = Object.hasOwn(b, key) ? b[key] : undefined;
      return other === undefined || agree(value, other);
    });
  }
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((value, at) => agree(value, b[at]));
  return a === b;
}

function isObject(value: JsonValue): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
