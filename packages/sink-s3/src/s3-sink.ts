import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  ListPartsCommand,
  type ListPartsCommandOutput,
  PutObjectCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import {
  abortable,
  abortError,
  BackypError,
  type Bytes,
  CHUNK_BYTES,
  type GetOptions,
  isBackypError,
  isKey,
  type Logger,
  type ObjectInfo,
  rechunk,
  requireKey,
  type Sink,
  silentLogger,
} from "@zk-backyp/core";
import { MAX_PARTS, type Part, sendInParts } from "./multipart.ts";
import type { S3SinkOptions } from "./options.ts";
import { createClient } from "./s3-client.ts";
import { isDenied, isMissing, isOutOfRange, isPreconditionFailed, s3Error } from "./s3-errors.ts";

const FIRST_PART_BYTES: number = 8 * 1024 * 1024;
/** How often in a row a broken download is taken up again without a byte of progress. */
const RESUMES = 3;
/** How long in ms finishing and cleaning up may take after an abort or a failure. */
const CLEANUP_TIMEOUT_MS = 30_000;

/** An upload that was begun and neither completed nor removed. */
interface UnfinishedUpload {
  readonly Key: string;
  readonly UploadId: string;
  readonly initiated: Date;
}

/**
 * A sink that keeps every object as `<prefix>/<key>` in a bucket. Makes no request before the first call.
 *
 * @param context where to say what is no error of a call, such as an upload that could not be cleaned up; default: nowhere
 * @throws BackypError `ERR_CONFIG_INVALID` when `caFile` cannot be read
 */
export async function createS3Sink(
  options: S3SinkOptions,
  context: { readonly logger: Logger } = { logger: silentLogger },
): Promise<Sink> {
  const { bucket, prefix = "", concurrency = 3, partSizeBytes: firstPartBytes = FIRST_PART_BYTES } = options;
  const { logger } = context;
  const client = await createClient(options);
  const root = prefix === "" ? "" : `${prefix}/`;
  const location = `s3://${bucket}${prefix === "" ? "" : `/${prefix}`}`;
  const endpoint = options.endpoint ?? "AWS S3";
  const customerKey = customerKeyHeaders(options);
  const newObject = { ...newObjectHeaders(options), ...customerKey };

  return {
    location,

    async put(key, body, { signal, ifAbsent = false }) {
      const name = { Bucket: bucket, Key: root + requireKey(key) };
      if (signal.aborted) throw abortError(signal);
      // Not every store honours If-None-Match, and a refusal before the upload is cheaper than one after it.
      if (ifAbsent) await refuseTaken(key, signal);
      return upload(key, name, body, ifAbsent, signal);
    },

    get(key, getOptions) {
      return abortable(rechunk(read(key, getOptions), CHUNK_BYTES), getOptions.signal);
    },

    async *list(keyPrefix, { signal, after }) {
      let token: string | undefined;
      do {
        const page: ListObjectsV2CommandOutput = await attempt("list", signal, () =>
          client.send(
            new ListObjectsV2Command({
              Bucket: bucket,
              Prefix: root + keyPrefix,
              ...(after === undefined ? {} : { StartAfter: root + after }),
              ...(token === undefined ? {} : { ContinuationToken: token }),
            }),
            { abortSignal: signal },
          ),
        );
        for (const object of page.Contents ?? []) {
          if (signal.aborted) throw abortError(signal);
          const key = (object.Key ?? "").slice(root.length);
          // Others may keep things here too, such as the folder marks of web consoles.
          if (!isKey(key)) continue;
          yield { key, size: object.Size ?? 0, modifiedAt: object.LastModified ?? new Date(0) };
        }
        token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      } while (token !== undefined);
    },

    async delete(key, { signal }) {
      const command = new DeleteObjectCommand({ Bucket: bucket, Key: root + requireKey(key) });
      await attempt(`delete ${key} in`, signal, () => client.send(command, { abortSignal: signal })).catch(
        unlessMissing,
      );
    },

    async sweep(keyPrefix, { olderThan, signal }) {
      let removed = 0;
      try {
        for await (const upload of unfinishedUploads(root + keyPrefix, signal)) {
          if (await isWrittenSince(olderThan, upload, signal)) continue;
          const { initiated: _, ...name } = upload;
          const command = new AbortMultipartUploadCommand({ Bucket: bucket, ...name });
          await attempt(`remove the unfinished upload of ${name.Key} from`, signal, () =>
            client.send(command, { abortSignal: signal }),
          ).catch(unlessMissing);
          removed += 1;
        }
      } catch (error) {
        if (!isBackypError(error) || !isDenied(error.cause)) throw error;
        logger.warn({ err: error, location }, `unfinished uploads are left to a rule of the bucket: ${error.message}`);
      }
      return removed;
    },

    async close() {
      client.destroy();
    },
  };

  async function upload(
    key: string,
    name: { readonly Bucket: string; readonly Key: string },
    body: Bytes,
    ifAbsent: boolean,
    runSignal: AbortSignal,
  ): Promise<ObjectInfo> {
    const stopper = new AbortController();
    const signal = AbortSignal.any([runSignal, stopper.signal]);
    // For requests that may have done their work already when the abort comes: better to hear how they went.
    const patient = abortedFor(CLEANUP_TIMEOUT_MS, signal);
    const condition = ifAbsent ? { IfNoneMatch: "*" } : {};
    let uploadId: Promise<string> | undefined;
    let size = 0;

    async function createUpload(): Promise<string> {
      const command = new CreateMultipartUploadCommand({ ...name, ...newObject, ChecksumAlgorithm: "CRC32" });
      // Not given up halfway: an upload that was begun and whose id is not known could not be removed.
      const { UploadId } = await attempt(`store ${key} in`, patient, () =>
        client.send(command, { abortSignal: patient }),
      );
      if (UploadId !== undefined) return UploadId;
      throw new BackypError(
        "ERR_SINK_UNAVAILABLE",
        `${endpoint} began an upload without naming it; is it an S3 store?`,
      );
    }

    async function send(part: Part): Promise<CompletedPart> {
      if (part.number > MAX_PARTS) {
        throw new BackypError(
          "ERR_SINK_FULL",
          `cannot store ${key} in ${location}: it has more than ${MAX_PARTS} parts; raise partSizeBytes`,
          { details: { key } },
        );
      }
      size += part.bytes.byteLength;
      if (part.number === 1 && part.last) {
        await putWhole(part.bytes);
        return {};
      }
      uploadId ??= createUpload();
      const command = new UploadPartCommand({
        ...name,
        ...customerKey,
        UploadId: await uploadId,
        PartNumber: part.number,
        Body: part.bytes,
      });
      const { ETag, ChecksumCRC32 } = await attempt(`store ${key} in`, signal, () =>
        client.send(command, { abortSignal: signal }),
      );
      // Only a store that reports the checksum also wants it repeated.
      return { PartNumber: part.number, ETag, ...(ChecksumCRC32 === undefined ? {} : { ChecksumCRC32 }) };
    }

    async function putWhole(bytes: Buffer): Promise<void> {
      const command = new PutObjectCommand({ ...name, ...newObject, ...condition, Body: bytes });
      if (signal.aborted) throw abortError(signal);
      try {
        // Not given up halfway: the store may have all of it by then, and would show what was reported as aborted.
        await attempt(`store ${key} in`, patient, () => client.send(command, { abortSignal: patient }));
      } catch (error) {
        if (!ifAbsent || !isBackypError(error) || !isPreconditionFailed(error.cause)) throw error;
        // When the answer to a first try was lost, the second one finds what the first one stored.
        const ours = createHash("md5").update(bytes).digest("hex");
        if (wasRetried(error.cause) && (await head(key, patient))?.ETag === `"${ours}"`) return;
        throw objectExists(key, error.cause);
      }
    }

    async function complete(id: string, parts: readonly CompletedPart[]): Promise<ObjectInfo> {
      // Once more, because not every store honours If-None-Match here: RGW 16 does not.
      if (ifAbsent) await refuseTaken(key, signal);
      const command = new CompleteMultipartUploadCommand({
        ...name,
        ...customerKey,
        ...condition,
        UploadId: id,
        MultipartUpload: { Parts: [...parts] },
      });
      if (signal.aborted) throw abortError(signal);
      // From here on the object may be there, so an abort comes too late.
      try {
        await attempt(`store ${key} in`, patient, () => client.send(command, { abortSignal: patient }));
      } catch (error) {
        if (!isBackypError(error)) throw error;
        // Where an answer was lost the object may be there all the same; a second try then finds no upload.
        const stored = await head(key, patient).catch(() => null);
        const ours = etagOf(parts);
        const isOurs = ours !== undefined && stored?.ETag === ours && stored.ContentLength === size;
        if (!isOurs && ifAbsent && isPreconditionFailed(error.cause)) throw objectExists(key, error.cause);
        if (!isOurs) throw error;
      }
      const stored = await head(key, patient);
      if (stored?.ContentLength === size) return { key, size, modifiedAt: stored.LastModified ?? new Date() };
      throw new BackypError(
        "ERR_SINK_UNAVAILABLE",
        `${key} has ${stored?.ContentLength ?? "no"} bytes in ${location}, not the ${size} that were sent; ` +
          "another writer replaced it, or the store is damaged",
        { details: { key } },
      );
    }

    try {
      const parts = await sendInParts(abortable(body, signal), {
        firstPartBytes,
        concurrency,
        send,
        stop: (error) => stopper.abort(error),
      });
      if (uploadId !== undefined) return await complete(await uploadId, parts);
      // Of the store's own time only a further request would tell.
      return { key, size, modifiedAt: new Date() };
    } catch (error) {
      if (uploadId === undefined) throw error;
      const problem = await abandon(key, name, uploadId);
      if (problem === null) throw error;
      logger.warn({ key, location }, problem);
      if (!isBackypError(error)) throw error;
      throw new BackypError(error.code, `${error.message}; moreover, ${problem}`, {
        cause: error,
        details: error.details,
      });
    }
  }

  /** Removes an unfinished upload. Returns what to tell the operator when that failed, else null. */
  async function abandon(
    key: string,
    name: { readonly Bucket: string; readonly Key: string },
    uploadId: Promise<string>,
  ): Promise<string | null> {
    const UploadId = await uploadId.catch(() => undefined);
    if (UploadId === undefined) return null;
    const signal = AbortSignal.timeout(CLEANUP_TIMEOUT_MS);
    const upload = { ...name, UploadId };
    try {
      // A part that was cut off may still arrive after the first time, and would then keep the upload alive.
      for (let round = 0; round < 3; round += 1) {
        await client.send(new AbortMultipartUploadCommand(upload), { abortSignal: signal });
        if (await isGone(upload, signal)) return null;
      }
    } catch (error) {
      if (isMissing(error)) return null;
      const { message } = s3Error(error, { action: "remove it from", location, bucket, endpoint });
      return (
        `the unfinished upload of ${key} stays in ${location} and costs space (${message}); give the bucket a rule ` +
        `that removes unfinished uploads, or remove the upload ${UploadId} by hand`
      );
    }
    return `the unfinished upload ${UploadId} of ${key} came back in ${location} after it was removed; remove it by hand`;
  }

  async function* unfinishedUploads(prefix: string, signal: AbortSignal): AsyncGenerator<UnfinishedUpload, void, void> {
    let from: { KeyMarker?: string; UploadIdMarker?: string } | undefined = {};
    while (from !== undefined) {
      const command: ListMultipartUploadsCommand = new ListMultipartUploadsCommand({
        Bucket: bucket,
        Prefix: prefix,
        ...from,
      });
      const page: ListMultipartUploadsCommandOutput = await attempt("list the unfinished uploads of", signal, () =>
        client.send(command, { abortSignal: signal }),
      );
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (Key !== undefined && UploadId !== undefined && Initiated !== undefined) {
          yield { Key, UploadId, initiated: Initiated };
        }
      }
      const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
      const hasMore = IsTruncated === true && KeyMarker !== undefined && UploadIdMarker !== undefined;
      from = hasMore ? { KeyMarker, UploadIdMarker } : undefined;
    }
  }

  /** Whether an upload was begun at `time` or later, or a part of it arrived then. */
  async function isWrittenSince(
    time: Date,
    { initiated, Key, UploadId }: UnfinishedUpload,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (initiated >= time) return true;
    let PartNumberMarker: string | undefined = "0";
    while (PartNumberMarker !== undefined) {
      const command: ListPartsCommand = new ListPartsCommand({
        ...{ Bucket: bucket, Key, UploadId, PartNumberMarker },
        ...customerKey,
      });
      const page: ListPartsCommandOutput | undefined = await attempt("look at an unfinished upload in", signal, () =>
        client.send(command, { abortSignal: signal }),
      ).catch(unlessMissing);
      if (page?.Parts?.some(({ LastModified = time }) => LastModified >= time) === true) return true;
      PartNumberMarker = page?.IsTruncated === true ? page.NextPartNumberMarker : undefined;
    }
    return false;
  }

  async function isGone(
    upload: { readonly Bucket: string; readonly Key: string; readonly UploadId: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      await client.send(new ListPartsCommand({ ...upload, ...customerKey, MaxParts: 1 }), { abortSignal: signal });
      return false;
    } catch (error) {
      // Who may not look has to trust the answer to the removal.
      if (isMissing(error) || isDenied(error)) return true;
      throw error;
    }
  }

  /** The object's bytes as they come. A download that breaks off is taken up again where it stopped. */
  async function* read(key: string, { signal, range }: GetOptions): AsyncGenerator<Uint8Array, void, void> {
    const Key = root + requireKey(key);
    if (range?.end !== undefined && range.end <= range.start) {
      if ((await head(key, signal)) === null) throw objectNotFound(key);
      return;
    }
    let position = range?.start ?? 0;
    let etag: string | undefined;
    let stop: number | undefined;
    let failures = 0;
    while (stop === undefined || position < stop) {
      const end = stop ?? range?.end;
      const command = new GetObjectCommand({
        Bucket: bucket,
        Key,
        ...customerKey,
        ...(position > 0 || end !== undefined
          ? { Range: `bytes=${position}-${end === undefined ? "" : end - 1}` }
          : {}),
        ...(etag === undefined ? {} : { IfMatch: etag }),
      });
      let response: GetObjectCommandOutput;
      try {
        response = await attempt(`read ${key} from`, signal, () => client.send(command, { abortSignal: signal }));
      } catch (error) {
        const cause = isBackypError(error) ? error.cause : undefined;
        if (stop === undefined && isOutOfRange(cause)) return;
        if (stop === undefined && isMissing(cause)) throw objectNotFound(key, cause);
        if (stop !== undefined && (isMissing(cause) || isPreconditionFailed(cause))) throw objectChanged(key, cause);
        throw error;
      }
      etag = response.ETag;
      stop ??= position + (response.ContentLength ?? 0);
      try {
        for await (const chunk of response.Body as Readable) {
          position += chunk.byteLength;
          failures = 0;
          yield chunk;
        }
        if (position >= stop) return;
      } catch (error) {
        if (signal.aborted) throw abortError(signal);
        if (failures >= RESUMES) throw s3Error(error, { action: `read ${key} from`, location, bucket, endpoint });
      }
      if (failures >= RESUMES) throw objectChanged(key);
      failures += 1;
      logger.debug({ key, position }, "the download broke off and is taken up again");
    }
  }

  async function head(key: string, signal: AbortSignal): Promise<HeadObjectCommandOutput | null> {
    const command = new HeadObjectCommand({ Bucket: bucket, Key: root + key, ...customerKey });
    try {
      return await attempt(`look for ${key} in`, signal, () => client.send(command, { abortSignal: signal }));
    } catch (error) {
      if (isBackypError(error) && isMissing(error.cause)) return null;
      throw error;
    }
  }

  async function refuseTaken(key: string, signal: AbortSignal): Promise<void> {
    if ((await head(key, signal)) !== null) throw objectExists(key);
  }

  async function attempt<T>(action: string, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (signal.aborted) throw abortError(signal);
      throw s3Error(error, { action, location, bucket, endpoint });
    }
  }

  function objectNotFound(key: string, cause?: unknown): BackypError {
    return new BackypError("ERR_OBJECT_NOT_FOUND", `there is no object ${key} in ${location}`, {
      cause,
      details: { key },
    });
  }

  function objectExists(key: string, cause?: unknown): BackypError {
    return new BackypError("ERR_OBJECT_EXISTS", `${key} exists already in ${location}; it was left as it is`, {
      cause,
      details: { key },
    });
  }

  function objectChanged(key: string, cause?: unknown): BackypError {
    return new BackypError(
      "ERR_SINK_UNAVAILABLE",
      `${key} in ${location} was replaced, deleted or cut off while it was read; read it again`,
      { cause, details: { key } },
    );
  }
}

/** For what was to go: that it is gone already is no failure. */
function unlessMissing(error: unknown): undefined {
  if (!isBackypError(error) || !isMissing(error.cause)) throw error;
  return undefined;
}

/** A signal that aborts when `signal` has been aborted for that many milliseconds. */
function abortedFor(ms: number, signal: AbortSignal): AbortSignal {
  const later = new AbortController();
  signal.addEventListener("abort", () => setTimeout(() => later.abort(signal.reason), ms).unref(), { once: true });
  return later.signal;
}

function newObjectHeaders({ storageClass, sse }: S3SinkOptions): Partial<PutObjectCommand["input"]> {
  return {
    ...(storageClass === undefined ? {} : { StorageClass: storageClass as "STANDARD" }),
    ...(sse === undefined || sse.type === "customer" ? {} : { ServerSideEncryption: sse.type }),
    ...(sse?.type === "aws:kms" && sse.keyId !== undefined ? { SSEKMSKeyId: sse.keyId } : {}),
  };
}

/** The key goes along with every request for the object; the store keeps none. */
function customerKeyHeaders({ sse }: S3SinkOptions): { SSECustomerAlgorithm?: string; SSECustomerKey?: string } {
  return sse?.type === "customer" ? { SSECustomerAlgorithm: "AES256", SSECustomerKey: sse.key } : {};
}

/** The ETag that S3 gives an object made of these parts, or undefined where the parts' own ETags are no MD5 sums. */
function etagOf(parts: readonly CompletedPart[]): string | undefined {
  const sums = parts.map(({ ETag = "" }) => ETag.replaceAll('"', ""));
  if (!sums.every((sum) => /^[0-9a-f]{32}$/.test(sum))) return undefined;
  const sum = createHash("md5")
    .update(Buffer.from(sums.join(""), "hex"))
    .digest("hex");
  return `"${sum}-${sums.length}"`;
}

function wasRetried(error: unknown): boolean {
  return ((error as { $metadata?: { attempts?: number } }).$metadata?.attempts ?? 1) > 1;
}
