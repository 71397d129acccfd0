import rateLimit from "@fastify/rate-limit";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { HttpError } from "./http-error.ts";

const WINDOW_MS = 60_000;
/** A hundred pages, each live, with a metrics server beside them, stay far below it. */
const MAX_REQUESTS = 6_000;
const MAX_CHANGES = 30;
const MAX_WRONG_TOKENS = 10;

/** Counts requests by the client's address, for a minute; an IPv6 network of 64 bits counts as one address. */
export interface RateLimits {
  /** @throws HttpError `ERR_TOO_MANY_REQUESTS` */
  countRequest(request: FastifyRequest, reply: FastifyReply): Promise<void>;
  /**
   * Counts a request that changes something, and runs `check` on its token. After some wrong ones, the right one is not
   * looked at either.
   *
   * @throws HttpError `ERR_TOO_MANY_REQUESTS`, and what `check` throws
   */
  countChange(request: FastifyRequest, reply: FastifyReply, check: () => void): Promise<void>;
}

/** Addresses are forgotten, the oldest first, when there are more than some thousands. */
export async function rateLimits(app: FastifyInstance): Promise<RateLimits> {
  await app.register(rateLimit, { global: false });
  const requests = app.createRateLimit({ max: MAX_REQUESTS, timeWindow: WINDOW_MS });
  const changes = app.createRateLimit({ max: MAX_CHANGES, timeWindow: WINDOW_MS });
  const wrongTokens = app.createRateLimit({ max: MAX_WRONG_TOKENS, timeWindow: WINDOW_MS });

  const count = async (limit: typeof requests, request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const found = await limit(request);
    if (!found.isAllowed && found.isExceeded) refuse(reply, found.ttlInSeconds);
  };
  return {
    countRequest: (request, reply) => count(requests, request, reply),
    async countChange(request, reply, check) {
      await count(changes, request, reply);
      const found = await wrongTokens(request, { increment: false });
      if (!found.isAllowed && found.remaining === 0) refuse(reply, found.ttlInSeconds);
      try {
        check();
      } catch (error) {
        await wrongTokens(request);
        throw error;
      }
    },
  };
}

function refuse(reply: FastifyReply, seconds: number): never {
  void reply.header("retry-after", Math.max(1, seconds));
  throw new HttpError("ERR_TOO_MANY_REQUESTS", `too many requests from this address: try again in ${seconds} s`);
}
