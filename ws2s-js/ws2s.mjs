/**
 * ws2s.js as a module: import WS2S, {WS2SError, RedisError, Redis} from './ws2s.mjs'.
 *
 * In Node ws2s.js is a CommonJS module and has a default export; in a page it has none, and sets the global.
 */
import * as file from './ws2s.js';

const WS2S = file.default || globalThis.WS2S;

export default WS2S;
export const {WS2SError, RedisError, Redis} = WS2S;
