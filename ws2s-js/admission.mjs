/** Why a gateway does not let a page in, as far as a page can know: of a refused WebSocket browsers tell nothing. */

import {defaultGateway} from './target-sections.mjs';

const MILLISECONDS = 5000;

/**
 * Gives what `open()` does. Throws a FieldError at the field for the token when the gateway of this page is there, but
 * refuses the WebSocket. `target`: `{url, token}`; `fields`: those that it was read from.
 */
export async function admitted(open, {url, token}, fields) {
  try {
    return await open();
  } catch (error) {
    if (error?.reason !== 'gateway-unreachable' || !await isThere(url)) throw error;
    throw fields.wrong('token', 'The gateway is there, but it has refused this page: perhaps it '
      + (token ? 'does not take this access token.' : 'wants an access token.'));
  }
}

// Of a gateway that has not served this page it cannot be asked: the browser lets pages fetch from their own only.
async function isThere(url) {
  if (!location.protocol.startsWith('http') || new URL(url).origin !== new URL(defaultGateway()).origin) return false;
  try {
    const answer = await fetch('healthz', {cache: 'no-store', signal: AbortSignal.timeout(MILLISECONDS)});
    return answer.ok && (await answer.text()).trim() === 'ok';
  } catch {
    return false;  // nobody has answered
  }
}
