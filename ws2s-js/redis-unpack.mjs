/** What is packed with gzip, zlib or deflate, up to a bound: a short value may be a very long one that is packed. */

import {joined} from './page.mjs';
import {pace, turn} from './redis-slices.mjs';

/** So much is unpacked, and no more. */
export const LARGEST_UNPACKED = 16777216;

// A browser unpacks all that it is given at once, and one byte may become a thousand.
const PIECE = 1024;

/** By the names that people know: what browsers call them. */
const FORMATS = {gzip: 'gzip', zlib: 'deflate', deflate: 'deflate-raw'};

/** How bytes that begin like this may be packed: 'gzip', 'zlib' or null. Deflate has no mark of its own. */
export function packingOf(bytes) {
  if (bytes.length < 8) return null;
  if (bytes[0] === 0x1f && bytes[1] === 0x8b && bytes[2] === 8) return 'gzip';
  const isZlib = (bytes[0] & 15) === 8 && bytes[0] >> 4 <= 7 && (bytes[0] * 256 + bytes[1]) % 31 === 0;
  return isZlib ? 'zlib' : null;
}

// Where a stream fails, what it has unpacked and nobody has read yet is lost. So near that place it gets single bytes.
const NEAR = 16384;

// Piece by piece, as fast as somebody reads; without a rest browsers would do all of it in one task.
async function feed(writer, bytes, near, progress) {
  const rest = pace();
  for (let size; progress.at < bytes.length; progress.at += size) {
    size = progress.at < near ? Math.min(PIECE, near - progress.at) : 1;
    await rest();
    await writer.write(bytes.slice(progress.at, progress.at + size));
  }
  await turn();  // what is left is read before the stream may tell that its end is missing
  await writer.close();
}

const ignore = () => {};

// `at`: about where it has failed.
async function unpackOnce(packed, packing, near, {limit = LARGEST_UNPACKED, signal}) {
  const stream = new DecompressionStream(FORMATS[packing]), progress = {at: 0};
  // The reader gets the same failure.
  const feeding = feed(stream.writable.getWriter(), packed, near, progress).catch(ignore);
  const reader = stream.readable.getReader(), pieces = [];
  let length = 0, isBroken = false;
  while (length <= limit && !isBroken && !signal?.aborted) {
    const {done, value} = await reader.read().catch(() => ({done: false, value: null}));
    if (done) break;
    isBroken = value === null;
    if (value) pieces.push(value);
    length += value ? value.length : 0;
  }
  if (!isBroken) await reader.cancel();
  await feeding;
  signal?.throwIfAborted();
  return {bytes: joined(pieces).subarray(0, limit), isCut: length > limit, isBroken, at: progress.at};
}

/**
 * `{bytes, isCut, isBroken}`: what is packed in `packed`; isCut: there is more than `limit`; isBroken: behind `bytes`
 * it is not packed like this, or its end is missing, or something follows its end. `packing`: gzip, zlib or deflate.
 * `options`: {limit, signal}.
 */
export async function unpack(packed, packing, options = {}) {
  const first = await unpackOnce(packed, packing, Infinity, options);
  const near = Math.max(0, first.at - NEAR);
  const {bytes, isCut, isBroken} = first.isBroken ? await unpackOnce(packed, packing, near, options) : first;
  return {bytes, isCut, isBroken};
}
