/** Long work in slices: between them the page answers whoever uses it. */

const SLICE_MILLISECONDS = 10;

/** Others have their turn. Not by setTimeout: browsers make a page that is not seen wait a second for it. */
export function turn() {
  return new Promise(resolve => {
    const {port1, port2} = new MessageChannel();
    port1.onmessage = () => { port1.close(); resolve(); };
    port2.postMessage(null);
  });
}

/** A function that resolves at once, but lets others have their turn every so many milliseconds. */
export function pace(milliseconds = SLICE_MILLISECONDS) {
  let end = performance.now() + milliseconds;
  return async () => {
    if (performance.now() < end) return;
    await turn();
    end = performance.now() + milliseconds;
  };
}

/**
 * What a generator returns that yields often: its steps are made for `milliseconds` at a time. `signal` (an
 * AbortSignal) ends it, and then the reason of the signal is thrown.
 */
export async function inSlices(steps, {signal, milliseconds = SLICE_MILLISECONDS} = {}) {
  for (;;) {
    await turn();  // at first, too: whoever has made the steps ready has taken some time
    if (signal?.aborted) {
      steps.return();
      throw signal.reason;
    }
    const end = performance.now() + milliseconds;
    do {
      const {done, value} = steps.next();
      if (done) return value;
    } while (performance.now() < end);
  }
}
