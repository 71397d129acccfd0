import type { ServerResponse } from "node:http";
import { HttpError } from "./http-error.ts";

/** What all answers together may hold that clients have not taken yet. */
const MAX_UNSENT_BYTES = 64 * 1024 * 1024;
/** Smaller answers are always sent: refusals, health. */
const SMALL_BYTES = 16 * 1024;
/** What the largest answers come to. */
const LARGE_BYTES = 1024 * 1024;

/** Keeps clients that ask for much and read nothing from filling the memory. */
export interface UnsentAnswers {
  /**
   * Refuses to begin with a large answer.
   *
   * @throws HttpError `ERR_UNAVAILABLE` where there would be no room for it
   */
  requireRoom(): void;
  /**
   * Counts an answer until it was sent, or its client is gone.
   *
   * @throws HttpError `ERR_UNAVAILABLE` where there is no room for it
   */
  add(response: ServerResponse, bytes: number): void;
}

export function unsentAnswers(): UnsentAnswers {
  let unsent = 0;
  const requireRoom = (bytes: number): void => {
    if (unsent + bytes <= MAX_UNSENT_BYTES) return;
    throw new HttpError("ERR_UNAVAILABLE", "too many answers are under way: try again in some seconds");
  };
  return {
    requireRoom: () => requireRoom(LARGE_BYTES),
    add(response, bytes) {
      if (bytes < SMALL_BYTES) return;
      requireRoom(bytes);
      unsent += bytes;
      response.once("close", () => {
        unsent -= bytes;
      });
    },
  };
}
