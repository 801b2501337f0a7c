/* What the drivers' programs share: the facts that they tell are plain JSON. */

export const MEGABYTE = 1 << 20;

/* Bytes that no compression and no repeating hides a fault in; the same every time. */
export function noise(length, seed = 1) {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0, x = seed; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) ^ (x >>> 9);
  return new Uint8Array(words.buffer, 0, length);
}

export const text = length => Array.from(noise(length), byte => String.fromCharCode(33 + byte % 90)).join('');

export const numbers = count => Array.from({length: count}, (_, i) => i);

/* The `code` that a promise rejects with, or its name where it has none. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error.code ?? error.message;
  }
  return 'no failure';
}

export const next = (emitter, event) => new Promise(resolve => emitter.once(event, resolve));

/* `attempt` again until it gives something that is true: what is waited for comes from a server. */
export async function until(attempt) {
  for (;;) {
    const value = await attempt();
    if (value) return value;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}
