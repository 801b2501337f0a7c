/** The reply of INFO, as sections and as figures with plain names. */

import {byteCount} from './page.mjs';
import {count, duration, keyCount, timeText} from './redis-names.mjs';

/** Sections of INFO, in their order: `{name, values}`, and `values` is a Map. */
export function parseInfo(text) {
  const sections = [];
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) sections.push({name: line.slice(1).trim(), values: new Map()});
    else if (line.includes(':')) addValue(sections, line);
  }
  return sections;
}

function addValue(sections, line) {
  if (!sections.length) sections.push({name: 'General', values: new Map()});
  const colon = line.indexOf(':');
  sections[sections.length - 1].values.set(line.slice(0, colon), line.slice(colon + 1));
}

/** The databases of the section Keyspace: `{db, keys, expires}`. */
export function keyspaceOf(sections) {
  const section = sections.find(({name}) => name.toLowerCase() === 'keyspace');
  if (!section) return [];
  return [...section.values].filter(([name]) => /^db\d+$/.test(name)).map(([name, value]) => {
    const numbers = Object.fromEntries(value.split(',').map(pair => pair.split('=')));
    return {db: Number(name.slice(2)), keys: Number(numbers.keys || 0), expires: Number(numbers.expires || 0)};
  });
}

const plain = value => value;
const number = value => (/^-?\d+$/.test(value) ? count(Number(value)) : value);
const size = value => (/^\d+$/.test(value) ? byteCount(Number(value)) : value);
const time = value => duration(Number(value));
const yes = value => (value === '1' ? 'yes' : 'no');
const limit = value => (value === '0' ? 'none' : size(value));
const isMoment = value => /^\d{1,12}$/.test(value);  // others are no date that a browser knows
const moment = value => (value === '0' ? 'never' : isMoment(value) ? timeText(Number(value) * 1000) : value);
const ago = value => (value === '-1' ? 'never' : `${duration(Number(value))} ago`);

// What most people look for, under a name that needs no manual: [name in INFO, name for people, how to show it].
const MAIN = {
  server: [
    ['redis_version', 'Version', plain], ['redis_mode', 'Mode', plain], ['os', 'System', plain],
    ['tcp_port', 'Port', plain], ['uptime_in_seconds', 'Running for', time], ['config_file', 'Configuration', plain],
  ],
  clients: [
    ['connected_clients', 'Connected clients', number], ['blocked_clients', 'Waiting in blocking commands', number],
    ['maxclients', 'Most clients allowed', number], ['tracking_clients', 'With client-side caching', number],
  ],
  memory: [
    ['used_memory', 'Used', size], ['used_memory_rss', 'Taken from the system', size],
    ['used_memory_peak', 'Most used so far', size], ['maxmemory', 'Limit', limit],
    ['maxmemory_policy', 'When the limit is reached', plain], ['mem_fragmentation_ratio', 'Fragmentation', plain],
  ],
  persistence: [
    ['loading', 'Loading its data', yes], ['rdb_last_save_time', 'Last snapshot', moment],
    ['rdb_changes_since_last_save', 'Changes since then', number],
    ['rdb_last_bgsave_status', 'Last snapshot went', plain], ['aof_enabled', 'Append-only file', yes],
    ['aof_last_write_status', 'Last write to it went', plain],
  ],
  stats: [
    ['instantaneous_ops_per_sec', 'Commands per second', number],
    ['total_commands_processed', 'Commands so far', number],
    ['total_connections_received', 'Connections so far', number],
    ['rejected_connections', 'Connections turned away', number],
    ['keyspace_hits', 'Reads that found a key', number], ['keyspace_misses', 'Reads that found none', number],
    ['expired_keys', 'Keys expired', number], ['evicted_keys', 'Keys evicted', number],
  ],
  replication: [
    ['role', 'Role', plain], ['connected_slaves', 'Replicas', number], ['master_host', 'Primary', plain],
    ['master_port', 'Port of the primary', plain], ['master_link_status', 'Link to the primary', plain],
    ['master_last_io_seconds_ago', 'Last heard of it', ago],
  ],
  cpu: [
    ['used_cpu_user', 'User seconds', plain], ['used_cpu_sys', 'System seconds', plain],
  ],
  cluster: [['cluster_enabled', 'Part of a cluster', yes]],
};

/** What to show of a section: `{main, others}`, each a list of `[name, value]`. */
export function figuresOf({name, values}) {
  if (name.toLowerCase() === 'keyspace') return {main: keyspaceFigures({name, values}), others: []};
  const main = Object.hasOwn(MAIN, name.toLowerCase()) ? MAIN[name.toLowerCase()] : [];
  const known = main.filter(([key]) => values.has(key) && values.get(key) !== '');
  const keys = new Set(known.map(([key]) => key));
  return {
    main: known.map(([key, label, show]) => [label, show(values.get(key))]),
    others: [...values].filter(([key]) => !keys.has(key)),
  };
}

function keyspaceFigures(section) {
  return keyspaceOf([section]).map(({db, keys, expires}) => (
    [`Database ${db}`, `${keyCount(keys)}, ${count(expires)} with a time to live`]));
}
