import { expect, it } from "vitest";
import { tokenCheck } from "./require-token.ts";

it.each(["Bearer s3cret-token", "bearer s3cret-token", "BEARER   s3cret-token "])("takes %j", (header) => {
  expect(() => tokenCheck("s3cret-token")(header)).not.toThrow();
});

it.each([
  undefined,
  "",
  "Bearer",
  "Bearer ",
  "s3cret-token",
  "Basic s3cret-token",
  "Bearer s3cret-toke",
  "Bearer s3cret-token2",
  "Bearer S3CRET-TOKEN",
  "Bearer s3cret-token s3cret-token",
  "Bearer\ts3cret-token",
  "Bearer s3cret-token\u0000",
  `Bearer ${"x".repeat(7_000)}`,
])("refuses %j, in words that do not depend on it", (header) => {
  expect(() => tokenCheck("s3cret-token")(header)).toThrow(
    expect.objectContaining({
      code: "ERR_TOKEN_WRONG",
      message: "this needs the header `Authorization: Bearer TOKEN` with the right token",
    }),
  );
});

it.each([undefined, ""])("refuses all where the token is %j, and says how to configure one", (token) => {
  for (const header of [undefined, "Bearer ", "Bearer undefined", "Bearer null"]) {
    expect(() => tokenCheck(token)(header)).toThrow(
      expect.objectContaining({
        code: "ERR_TOKEN_NOT_CONFIGURED",
        message: expect.stringContaining("set http.token in the configuration"),
      }),
    );
  }
});
