import { createHash, timingSafeEqual } from "node:crypto";
import { HttpError } from "./http-error.ts";

const BEARER = /^Bearer +([\x21-\x7e]+) *$/i;

/**
 * Makes the check that whoever changes something has shown the configured token. It takes the same time for every token,
 * and for none: digests are compared, since what is compared in constant time must be of one length.
 *
 * @returns throws HttpError `ERR_TOKEN_WRONG` or, where no token is configured, `ERR_TOKEN_NOT_CONFIGURED`
 */
export function tokenCheck(token: string | undefined): (authorization: string | undefined) => void {
  const wanted = token === undefined || token === "" ? null : digest(token);
  return (authorization) => {
    const shown = digest(BEARER.exec(authorization ?? "")?.[1] ?? "");
    if (wanted === null) {
      throw new HttpError(
        "ERR_TOKEN_NOT_CONFIGURED",
        "no token is configured, so nothing can be changed by HTTP: set http.token in the configuration, for example to { env: ZK_BACKYP_TOKEN }, and reload the daemon",
      );
    }
    if (!timingSafeEqual(shown, wanted)) {
      throw new HttpError(
        "ERR_TOKEN_WRONG",
        "this needs the header `Authorization: Bearer TOKEN` with the right token",
      );
    }
  };
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
