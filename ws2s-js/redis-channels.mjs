/** redis-channels.mjs: channels that somebody listens to, and what is published there. */

const MOST_COUNTED = 500;  // channels of which the subscribers are asked for

const ignore = () => {};

/** Rows `{name, subscribers}` of the channels (bytes) that match and have subscribers, those with most first. */
export async function channelsOf(session, pattern, most = MOST_COUNTED) {
  const found = await session.ask('PUBSUB', 'CHANNELS', pattern || '*');
  const names = Array.isArray(found) ? found.slice(0, most) : [];
  const counts = names.length ? await session.ask('PUBSUB', 'NUMSUB', ...names) : [];
  const rows = names.map((name, i) => ({name, subscribers: Number(counts[2 * i + 1]) || 0}));
  return {total: Array.isArray(found) ? found.length : 0, rows: rows.sort((a, b) => b.subscribers - a.subscribers)};
}

/**
 * Listen to all channels that match, over a connection of its own: `onMessage(message, channel)`, of bytes and text,
 * until `signal` ends it, by rejecting with its reason. After a loss, which `onLoss()` tells, it goes on by itself.
 * Rejects with the error when it cannot.
 */
export async function listen(session, pattern, {signal, onMessage, onLoss}) {
  const client = session.another();
  try {
    await new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), {once: true});
      client.onLost = onLoss;
      client.onClose = error => reject(error || new DOMException('Cancelled.', 'AbortError'));
      client.psubscribe(pattern || '*', onMessage).catch(reject);
    });
  } finally {
    client.onLost = client.onClose = ignore;
    client.close().catch(ignore);
  }
}
