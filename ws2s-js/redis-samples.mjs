/** redis-samples.mjs: what INFO tells over time: as series, and as paths of a chart. */

const KEPT = 720;   // an hour of one each five seconds

const figure = (values, name) => {
  const text = values.get(name);
  return text !== undefined && /^\d+(\.\d+)?$/.test(text) ? Number(text) : null;
};

// Of counters a chart shows how much they grow in a second.
const COUNTERS = {
  operations: 'total_commands_processed', received: 'total_net_input_bytes', sent: 'total_net_output_bytes',
  hits: 'keyspace_hits', misses: 'keyspace_misses', evicted: 'evicted_keys', expired: 'expired_keys',
};
const LEVELS = {
  memory: 'used_memory', resident: 'used_memory_rss', clients: 'connected_clients', blocked: 'blocked_clients',
};

/** What one reply of INFO tells: `{at, run, levels, counters}`. `sections`: of parseInfo(); `at`: milliseconds. */
export function sampleOf(sections, at) {
  const values = new Map(sections.flatMap(section => [...section.values]));
  const figures = names => Object.fromEntries(Object.entries(names).map(([key, name]) => [key, figure(values, name)]));
  return {at, run: values.get('run_id') || '', levels: figures(LEVELS), counters: figures(COUNTERS)};
}

// A server that was started again counts from zero, and so it does after CONFIG RESETSTAT.
function rateOf(name, before, sample) {
  const [earlier, later] = [before, sample].map(({counters}) => counters[name]);
  const seconds = (sample.at - before.at) / 1000;
  const isKnown = earlier !== null && later !== null && later >= earlier && seconds > 0;
  return isKnown && before.run === sample.run ? (later - earlier) / seconds : null;
}

function hitShare(before, sample) {
  const [hits, misses] = ['hits', 'misses'].map(name => rateOf(name, before, sample));
  return hits === null || misses === null || hits + misses === 0 ? null : hits / (hits + misses);
}

/** The newest samples. */
export class Samples {
  #limit;

  all = [];

  constructor(limit = KEPT) {
    this.#limit = limit;
  }

  add(sample) {
    const last = this.all.at(-1);
    const isOlder = last && sample.at <= last.at;  // clocks may be set
    if (isOlder) this.all = [];
    this.all.push(sample);
    if (this.all.length > this.#limit) this.all.shift();
  }

  /** Nothing was heard for a while: no line is drawn over that. */
  interrupt() {
    const last = this.all.at(-1);
    if (last) last.isLast = true;
  }

  /**
   * Points `{at, value}` of a series: a level (memory, resident, clients, blocked), a counter as growth in a second
   * (operations, received, sent, hits, misses, evicted, expired), or `hitShare`, from 0 to 1. A value that is not known
   * is null.
   */
  series(name) {
    if (Object.hasOwn(LEVELS, name)) return this.#levels(name);
    const value = name === 'hitShare' ? hitShare : (before, sample) => rateOf(name, before, sample);
    return this.all.slice(1).map((sample, i) => {
      const before = this.all[i];
      return {at: sample.at, value: before.isLast ? null : value(before, sample)};
    });
  }

  #levels(name) {
    return this.all.flatMap(({at, levels, isLast}) => {
      const point = {at, value: levels[name]};
      return isLast ? [point, {at, value: null}] : [point];
    });
  }
}

// -- charts -----------------------------------------------------------------------------------------------------------

/** The end of an axis that holds these values: 1, 2 or 5 with zeros behind, at least `least`. */
export function niceEnd(values, least = 1) {
  const most = values.reduce((found, value) => (value !== null && value > found ? value : found), least);
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map(step => step * power).find(end => end >= most) ?? 10 * power;
}

const place = number => String(Math.round(number * 10) / 10);

/**
 * The `d` of an SVG path through points, from left to right: `box` is {width, height, from, to, end}, times at its
 * sides, and the value at its top; zero is at its bottom. Values that are not known are gaps; '' when all are.
 */
export function pathOf(points, {width, height, from, to, end}) {
  let path = '', isDrawing = false;
  for (const {at, value} of points) {
    if (value !== null) {
      const x = to > from ? (at - from) / (to - from) * width : 0;
      const y = height - Math.max(0, Math.min(1, value / end)) * height;
      path += `${isDrawing ? 'L' : 'M'}${place(x)} ${place(y)}${isDrawing ? '' : 'h0'}`;  // so that one alone is a dot
    }
    isDrawing = value !== null;
  }
  return path;
}

/** At most `count` of the points: the highest of each stretch, so that none that stands out is lost, or its gap. */
export function thinned(points, count) {
  const stretch = Math.ceil(points.length / count);
  if (stretch <= 1) return points;
  const kept = [];
  for (let begin = 0; begin < points.length; begin += stretch) {
    kept.push(highest(points.slice(begin, begin + stretch)));
  }
  return kept;
}

function highest(points) {
  return points.find(({value}) => value === null) || points.reduce((a, b) => (b.value > a.value ? b : a));
}
