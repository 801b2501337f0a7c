/**
 * Which gateway `ws2s/sockets`, `ws2s/net` and `ws2s/tls` go through. The first of these that is there:
 *
 *     configure({gateway: 'wss://gateway.example/', token: '...'})
 *     import ... from './sockets.mjs?gateway=wss://gateway.example/'
 *     <meta name="ws2s-gateway" content="wss://gateway.example/">
 *
 * A token stands in no URL and in no markup, so only configure() takes one, also for a gateway of the other two.
 */

const OPTIONS = ['gateway', 'token', 'ssh', 'tls', 'timeout', 'heartbeat', 'window', 'binary', 'WebSocket'];
const SECRETS = ['token', 'ssh', 'tls'];  // what another gateway must not get; tls may have a key
const SCHEMES = {'ws:': 'ws:', 'wss:': 'wss:', 'http:': 'ws:', 'https:': 'wss:'};
// A page may have several copies of this module, one in each bundle: all of them look here.
const PLACE = Symbol.for('ws2s.gateway');
const PAGE_FILES = pageFiles();  // programs change the URL of their page

/**
 * Set the gateway of this page, or of this worker, and what holds for each connection through it. It replaces what was
 * set before; without arguments nothing is set.
 *
 * @param {object} [options] `gateway`, a URL, and as of WS2S.connect() `token`, `ssh`, `timeout` and `heartbeat`
 *   (milliseconds), `window` (bytes), `binary` and `WebSocket`; `tls`, an object, says how connections with TLS do it,
 *   not which ones
 */
export function configure(options = {}) {
  const unknown = Object.keys(options).find(name => !OPTIONS.includes(name));
  if (unknown !== undefined) throw new TypeError(`configure() has no option ${unknown}`);
  const settings = {...options};
  if (given(settings.tls) && typeof settings.tls !== 'object') throw new TypeError('the option tls must be an object');
  if (given(settings.gateway)) settings.gateway = urlOf(settings.gateway, 'the option gateway');
  // A function, and not enumerable: what shows or sends all globals must not show a token.
  Object.defineProperty(globalThis, PLACE, {value: () => settings, configurable: true});
}

/**
 * The settings of a connection: `gateway`, and the options of WS2S.connect(). Throws a TypeError when no gateway is
 * known.
 *
 * @param {string} [importUrl] the import.meta.url of the module that asks; some bundlers have none
 * @param {object} [options] of this one connection, which go before. Another gateway does not get the secrets of
 *   configure().
 * @returns {object}
 */
export function configured(importUrl, options = {}) {
  const settings = globalThis[PLACE] ? globalThis[PLACE]() : {};
  const common = given(settings.gateway) ? settings.gateway : ofImport(importUrl) || ofMarkup();
  const gateway = given(options.gateway) ? urlOf(options.gateway, 'the option gateway') : common;
  if (!gateway) throw unknownGateway();
  return {...gateway === common ? settings : withoutSecrets(settings), ...onlyGiven(options), gateway};
}

function given(value) {
  return value !== undefined && value !== null;
}

function onlyGiven(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function withoutSecrets(settings) {
  return Object.fromEntries(Object.entries(settings).filter(([name]) => !SECRETS.includes(name)));
}

function ofImport(importUrl) {
  const url = urlOrNull(importUrl);
  if (!url || isPage(url)) return null;
  const gateway = url.searchParams.get('gateway');
  return gateway && urlOf(gateway, '?gateway= of the import');
}

// A module that stands in the page has the URL of the page, in which a link may have put any gateway.
function isPage({href}) {
  return [...PAGE_FILES, ...pageFiles()].includes(fileOf(href));
}

function pageFiles() {
  const {document: page} = globalThis;
  return page ? [page.URL, page.baseURI].map(fileOf) : [];
}

function fileOf(url) {
  return `${url}`.split(/[?#]/, 1)[0];
}

// A worker has no document, and Node neither.
function ofMarkup() {
  const {document: page} = globalThis;
  const meta = page && page.querySelector('meta[name="ws2s-gateway"]');
  return meta && urlOf(meta.content, '<meta name="ws2s-gateway">');
}

/** The URL for a WebSocket. One that is relative is seen from the page, or from the script of the worker. */
function urlOf(text, where) {
  const {document: page, location} = globalThis;
  const url = urlOrNull(text, page ? page.baseURI : location && location.href);
  if (!url || !Object.hasOwn(SCHEMES, url.protocol) || url.hash) {
    throw new TypeError(`${where} must be a URL that begins with wss:// or ws://, and has no #`);
  }
  return url.href.replace(/^[a-z]+:/, SCHEMES[url.protocol]);
}

function urlOrNull(text, base) {
  try {
    return new URL(text, base);
  } catch (error) {
    return null;
  }
}

function unknownGateway() {
  return new TypeError('no gateway is known: call configure({gateway: \'wss://...\'}), '
    + 'or import this module with ?gateway=wss://... behind its URL, '
    + 'or put <meta name="ws2s-gateway" content="wss://..."> into the page');
}
