/* The query of the page is that of its WebSocket. */
import RFB from './core/rfb.js';

const url = new URL(`websockify${location.search}`, location.href);
url.protocol = url.protocol.replace('http', 'ws');
globalThis.ends = [];
globalThis.rfb = new RFB(document.querySelector('#screen'), url.href);
rfb.addEventListener('disconnect', ({detail}) => { ends.push(detail); });
