/* What short texts may mean, and times to live as people write them. */
'use strict';

const assert = require('node:assert');
const {before, test} = require('node:test');
const {document} = require('./fake_document.js');

let hints, ttl, field;
before(async () => {
  globalThis.document = document;
  [hints, ttl, field] = await Promise.all(
    ['hints', 'ttl', 'ttl-field'].map(name => import(`../../ws2s-js/redis-${name}.mjs`)));
});

const NOW = Date.UTC(2026, 10, 29, 12, 0, 0);

const HINTS = [
  ['', []], ['x', []], ['12', []], ['1.5', []], ['0x10', []], ['1'.repeat(65), []], ['2026-13-01', []],
  ['1234', ['as a size: 1.2 KB, 1.2 KiB']],
  ['1795953600', ['as Unix time in seconds: 2026-11-29 12:00:00 UTC, now', 'as a number: 1,795,953,600',
    'as a size: 1.8 GB, 1.7 GiB']],
  [' 1795953660000\n', ['as Unix time in milliseconds: 2026-11-29 12:01:00 UTC, in 1 minute',
    'as a number: 1,795,953,660,000', 'as a size: 1.8 TB, 1.6 TiB']],
  ['1795867200000000', ['as Unix time in microseconds: 2026-11-28 12:00:00 UTC, 1 day ago',
    'as a number: 1,795,867,200,000,000', 'as a size: 1796 TB, 1633.3 TiB']],
  ['1795953600000000001', ['as Unix time in nanoseconds: 2026-11-29 12:00:00 UTC, now',
    'as a number: 1,795,953,600,000,000,001', 'larger than 2^53: a double cannot hold each such number']],
  ['-12345678901234567890', ['as a number: -12,345,678,901,234,567,890',
    'larger than 2^53: a double cannot hold each such number']],
  ['1048576', ['as a number: 1,048,576', 'as a size: 1.0 MB, 1.0 MiB']],
  ['2026-11-29', ['a moment: 2026-11-29 00:00:00 UTC, 12 hours ago, Unix time 1795910400']],
  ['2026-11-29T12:00:00Z', ['a moment: 2026-11-29 12:00:00 UTC, now, Unix time 1795953600']],
  ['2026-11-29 12:00:05.123456', [
    'a moment (taken as UTC): 2026-11-29 12:00:05 UTC, in 5 seconds, Unix time 1795953605']],
  ['2026-11-29T14:00:00+0200', ['a moment: 2026-11-29 12:00:00 UTC, now, Unix time 1795953600']],
  ['2026-11-29T12:00-05:30', ['a moment: 2026-11-29 17:30:00 UTC, in 5 hours 30 minutes, Unix time 1795973400']],
  ['f47ac10b-58cc-4372-a567-0e02b2c3d479', ['a UUID, version 4']],
  ['C232AB00-9414-11EC-B3C8-9F6BDECED846', [
    'a UUID, version 1: made at 2022-02-22 19:22:22 UTC, 1,740 days 16 hours ago']],
  ['1EC9414C-232A-6B00-B3C8-9F6BDECED846', [
    'a UUID, version 6: made at 2022-02-22 19:22:22 UTC, 1,740 days 16 hours ago']],
  ['017F22E2-79B0-7CC3-98C4-DC0C0C07398F', [
    'a UUID, version 7: made at 2022-02-22 19:22:22 UTC, 1,740 days 16 hours ago']],
];

for (const [text, sentences] of HINTS) {
  test(`${JSON.stringify(text.slice(0, 40))} may mean ${JSON.stringify(sentences)}`, () => {
    assert.deepStrictEqual(hints.hintsOf(text, NOW), sentences);
  });
}

test('no text makes a hint fail', () => {
  const parts = ['9', '0', '-', '+', ':', 'T', ' ', 'Z', 'a', '2026', '.', 'f47ac10b'];
  let seed = 1;
  const random = () => (seed = seed * 48271 % 2147483647);
  for (let i = 0; i < 20000; i++) {
    const text = Array.from({length: random() % 14}, () => parts[random() % parts.length]).join('');
    for (const hint of hints.hintsOf(text, NOW)) assert.ok(!/NaN|Invalid|undefined/.test(hint), `${text}: ${hint}`);
  }
});

// -- times to live ----------------------------------------------------------------------------------------------------

const DAY = 86400000;
const TIMES = [
  ['90', {after: 90000}], [' 1 ', {after: 1000}], ['0.5', {after: 500}], ['1.5h', {after: 5400000}],
  ['90s', {after: 90000}], ['250ms', {after: 250}], ['1h 30m', {after: 5400000}], ['1h30m', {after: 5400000}],
  ['2 days', {after: 2 * DAY}], ['1 Day, 2 hours and 3 min', {after: DAY + 7380000}], ['1w', {after: 7 * DAY}],
  ['2026-11-30', {at: NOW + DAY / 2}], ['2026-11-30 12:00', {at: NOW + DAY}], ['2026-11-30T12:00:00Z', {at: NOW + DAY}],
  ['2026-11-30 12:00:00.250 utc', {at: NOW + DAY + 250}], ['2026-11-30 14:00 +02:00', {at: NOW + DAY}],
  ['2026-11-30T14:00:00+0200', {at: NOW + DAY}], ['2028-02-29', {at: Date.UTC(2028, 1, 29)}],
];

for (const [text, time] of TIMES) {
  test(`${text} is the time to live ${JSON.stringify(time)}`, () => {
    assert.deepStrictEqual(ttl.parseTtl(text, NOW), time);
  });
}

const HOW = /A time to live is a number of seconds \(90\), a duration/;
const WRONG = [
  ['', HOW], ['x', HOW], ['-5', HOW], ['1 h x', HOW], ['5 parsecs', /“parsecs” is no unit of time/], ['1e3', HOW],
  ['0', /longer than nothing/], ['0s', /longer than nothing/], ['99999999999999d', /longer than Redis can count/],
  ['1h 30', HOW], ['2026-11-29', /This date is over/], ['2020-01-01', /over/], ['2027-02-29', /no such date/],
  ['2027-13-01', /no such date/], ['2027-01-01 25:00', /no such date/], ['2027-01-01 tomorrow', HOW],
];

for (const [text, sentence] of WRONG) {
  test(`${JSON.stringify(text)} is no time to live`, () => {
    assert.throws(() => ttl.parseTtl(text, NOW), error => error instanceof RangeError && sentence.test(error.message));
  });
}

test('whole seconds are told in the words of every server, and others in those of 2.6', () => {
  assert.deepStrictEqual(ttl.expireCommand('k', {after: 90000}), ['EXPIRE', 'k', 90]);
  assert.deepStrictEqual(ttl.expireCommand('k', {after: 250}), ['PEXPIRE', 'k', 250]);
  assert.deepStrictEqual(ttl.expireCommand('k', {at: NOW}), ['EXPIREAT', 'k', NOW / 1000]);
  assert.deepStrictEqual(ttl.expireCommand('k', {at: NOW + 1}), ['PEXPIREAT', 'k', NOW + 1]);
});

test('a time to live is shown as a duration and as a date', () => {
  assert.strictEqual(ttl.ttlText({after: 90000}, NOW), '1 minute 30 seconds, until 2026-11-29 12:01:30 UTC');
  assert.strictEqual(ttl.ttlText({at: NOW + DAY}, NOW), '1 day, until 2026-11-30 12:00:00 UTC');
  assert.strictEqual(ttl.ttlText({after: 250}, NOW), '250 ms, until 2026-11-29 12:00:00 UTC');
  assert.strictEqual(ttl.ttlText({after: 8.7e15}, NOW), '100,694,444 days 10 hours');
});

for (const milliseconds of [1, 1000, 59999, 3600000, 90061000, 400 * DAY]) {
  test(`${milliseconds} milliseconds come back as they are written, to the second`, () => {
    const rounded = Math.max(1000, Math.round(milliseconds / 1000) * 1000);
    assert.deepStrictEqual(ttl.parseTtl(ttl.writtenTtl(milliseconds), NOW), {after: rounded});
  });
}

test('a field for a time to live says what is understood, and what is not', () => {
  const made = new field.TtlField(true, ''), find = id => made.node.all.find(node => node.id === id);
  const type = text => { find('ttl-time').value = text; find('ttl-time').happens('input'); };
  const hint = () => find('ttl-hint').textContent;
  assert.deepStrictEqual([made.isEmpty, find('ttl-time').getAttribute('placeholder')], [true, 'for ever']);
  const first = hint();
  type('2 days');
  assert.match(hint(), /^2 days, until \d{4}-\d\d-\d\d /);
  assert.deepStrictEqual([made.isEmpty, made.read()], [false, {after: 2 * DAY}]);
  type('2 parsecs');
  assert.match(hint(), /“parsecs” is no unit of time/);
  assert.throws(() => made.read(), error => error.name === 'FieldError' && error.field === find('ttl-time'));
  assert.strictEqual(find('ttl-time').getAttribute('aria-invalid'), 'true');
  type('');
  assert.deepStrictEqual([hint(), find('ttl-time').getAttribute('aria-invalid')], [first, null]);
});
