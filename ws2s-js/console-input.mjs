/**
 * console-input.mjs: what is typed into the console, as bytes.
 */
import {parseHex} from './page.mjs';

const LINE_ENDINGS = {lf: '\n', crlf: '\r\n', cr: '\r', none: ''};

/**
 * The bytes of what was typed. `mode`: 'hex'; others are text. `ending`: 'lf', 'crlf', 'cr' or 'none'; it ends
 * each line of a text, except that line ends within it stay when there is to be none behind it.
 */
export function typedBytes(text, mode, ending) {
  if (mode === 'hex') return parseHex(text);
  const end = LINE_ENDINGS[ending];
  const lines = end ? text.replace(/\r\n|\n/g, end) : text;
  return new TextEncoder().encode(lines + end);
}
