/** redis-charts.mjs: what the charts of the operator's panel show, without drawing them. */

import {byteCount} from './page.mjs';
import {count} from './redis-names.mjs';
import {niceEnd, pathOf, thinned} from './redis-samples.mjs';

const POINTS = 300;  // more than a chart has pixels for

const perSecond = value => `${count(Math.round(value))} a second`;
const bytesPerSecond = value => `${byteCount(Math.round(value))} a second`;
const percent = value => `${(100 * value).toFixed(1)} %`;
const bytes = value => byteCount(Math.round(value));

// `end`: of the axis, where that is always the same; `least`: the smallest one that is worth a chart.
const CHARTS = [
  {id: 'memory', title: 'Memory', series: [['memory', 'used']], text: bytes, least: 1000000},
  {id: 'operations', title: 'Commands', series: [['operations', '']], text: perSecond, least: 10},
  {id: 'clients', title: 'Clients', series: [['clients', '']], text: value => count(value), least: 10},
  {id: 'network', title: 'Network', series: [['received', 'in'], ['sent', 'out']], text: bytesPerSecond, least: 1000},
  {id: 'hits', title: 'Reads that found a key', series: [['hitShare', '']], text: percent, end: 1},
];

function latest(points) {
  return points.findLast(({value}) => value !== null)?.value ?? null;
}

function chartOf(samples, {id, title, series, text, least, end}, box) {
  const lines = series.map(([name, words]) => ({words, points: samples.series(name)}));
  const all = lines.flatMap(({points}) => points.map(({value}) => value));
  const top = end ?? niceEnd(all, least);
  const sides = {...box, from: samples.all.at(0)?.at ?? 0, to: samples.all.at(-1)?.at ?? 0, end: top};
  const now = lines.map(({words, points}) => [latest(points), words]).filter(([value]) => value !== null);
  const told = now.map(([value, words]) => `${text(value)} ${words}`.trim());
  return {
    id, title, end: text(top), now: told.join(', '),
    paths: lines.map(({points}) => pathOf(thinned(points, POINTS), sides)),
  };
}

/**
 * Charts of Samples: `{id, title, now, end, paths}`. `now`: the last values, for people; `end`: what the top of the
 * chart stands for; `paths`: for SVG, in a `box` of {width, height}.
 */
export function chartsOf(samples, box) {
  return CHARTS.map(chart => chartOf(samples, chart, box));
}
