/** What the bytes of a value seem to be. It is a guess, from their beginning or from all of them where they are few. */

import {textOf, withoutCutCharacter} from './redis-bytes.mjs';
import {seemsJson} from './redis-json.mjs';
import {readMsgpack} from './redis-msgpack.mjs';
import {packingOf} from './redis-unpack.mjs';

const LOOKED_AT = 65536;

const latin1 = bytes => String.fromCharCode(...bytes);

// How others begin: in Latin-1, where each character is a byte.
const MARKS = [
  ['\x89PNG\r\n\x1a\n', 'a PNG image'], ['\xff\xd8\xff', 'a JPEG image'], ['GIF8', 'a GIF image'],
  ['%PDF-', 'a PDF document'], ['PK\x03\x04', 'a ZIP archive'], ['SQLite format 3\0', 'an SQLite database'],
  ['\x28\xb5\x2f\xfd', 'packed with Zstandard'], ['\x04\x22\x4d\x18', 'packed with LZ4'],
  ['BZh', 'packed with bzip2'], ['\xfd7zXZ\0', 'packed with xz'], ['\xff\x06\0\0sNaPpY', 'packed with Snappy'],
  ['\xac\xed\0\x05', 'an object of Java'], ['\xd9\xd9\xf7', 'CBOR'], ['HYLL', 'a HyperLogLog of Redis'],
  ['RIFF', 'a RIFF file (WebP, WAV or AVI)'], ['OggS', 'an Ogg file'], ['ID3', 'an MP3 file'],
];

const PHP = /^(?:a|O|s|i|d|b):[\d.]+[:;]|^N;$/;
const PICKLE = /^\x80[\x02-\x05]/;

function markedKind(begin) {
  const found = MARKS.find(([mark]) => begin.startsWith(mark));
  if (found) return found[1];
  if (PHP.test(begin)) return 'a value of PHP';
  return PICKLE.test(begin) ? 'a pickle of Python' : null;
}

// Only what is a container, or has a mark of its own: one byte, or a text, could be nearly anything.
function isMsgpack(bytes, isWhole) {
  const isContainer = (bytes[0] & 0xe0) === 0x80 || (bytes[0] >= 0xdc && bytes[0] <= 0xdf);
  if (!isContainer) return false;
  const steps = readMsgpack(bytes);
  try {
    while (!steps.next().done);
    return true;
  } catch (error) {
    if (error.name !== 'MsgpackError') throw error;
    return !isWhole && error.at >= bytes.length - 16;  // the document goes on behind what is known
  }
}

/**
 * `{look, words}` of bytes: `words` say what they seem to be (empty: nothing special), `look` is how to look at that:
 * 'tree' (of JSON), 'msgpack', 'gzip', 'zlib', 'hex' or 'text'. `isWhole`: are these all bytes of the value?
 */
export function kindOf(bytes, isWhole = true) {
  const begin = bytes.subarray(0, LOOKED_AT);
  const mark = markedKind(latin1(begin.subarray(0, 32)));
  const isCut = !isWhole || begin.length < bytes.length;
  const text = textOf(isCut ? withoutCutCharacter(begin) : begin);
  if (mark) return {look: text === null ? 'hex' : 'text', words: mark};
  if (text !== null) return seemsJson(text, !isCut) ? {look: 'tree', words: 'JSON'} : {look: 'text', words: ''};
  const packing = packingOf(begin);
  if (packing) return {look: packing, words: `packed with ${packing}`};
  return isMsgpack(begin, !isCut) ? {look: 'msgpack', words: 'MessagePack'} : {look: 'hex', words: 'no text'};
}
