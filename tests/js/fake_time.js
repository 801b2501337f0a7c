/* Time as intervals see it, in tests that must not wait for it. */
'use strict';

const {settled} = require('./fake_gateway.js');

/* Intervals that run when the test says so: `pass` lets so many milliseconds go by, as far as timers can tell. */
function takeTime(t) {
  const timers = new Set();
  t.mock.method(globalThis, 'setInterval', (action, period) => {
    const timer = {action, period, left: period};
    timers.add(timer);
    return timer;
  });
  t.mock.method(globalThis, 'clearInterval', timer => timers.delete(timer));
  return {
    timers,
    async pass(milliseconds) {
      for (let left = milliseconds; left > 0; left -= 1000) {
        for (const timer of [...timers]) {
          timer.left -= 1000;
          if (timer.left <= 0 && timers.has(timer)) { timer.left = timer.period; timer.action(); }
        }
        await settled();
      }
    },
    /* The computer sleeps: every timer fires once, late. */
    async sleep() {
      for (const timer of [...timers]) if (timers.has(timer)) timer.action();
      await settled();
    },
  };
}

module.exports = {takeTime};
