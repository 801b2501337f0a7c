/* One connection in a worker, that hears of the network in between; tells what the target has answered. */
'use strict';

importScripts('ws2s.js');

onmessage = async ({data: {url, ...target}}) => {
  const connection = await WS2S.connect(url, target);
  dispatchEvent(new Event('online'));
  await connection.writable.getWriter().write(Uint8Array.of(1, 2));
  const {value} = await connection.readable.getReader().read();
  await connection.close();
  postMessage([...value]);
};
