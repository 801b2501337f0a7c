/** redis-secrets.mjs: which words of a command that somebody else has sent may be shown. */

// How many words are shown of commands that may hold a password, in any place. All is hidden behind those.
const SHOWN = {
  'AUTH': 1, 'HELLO': 1, 'MIGRATE': 1, 'ACL': 2, 'CONFIG': 2, 'SENTINEL': 2, 'MODULE': 2,
};
// Of these nothing is secret, so that they can be told apart.
const OPEN = new Set([
  'ACL CAT', 'ACL LIST', 'ACL LOG', 'ACL USERS', 'ACL WHOAMI', 'CONFIG GET', 'CONFIG RESETSTAT', 'CONFIG REWRITE',
]);

/** How many words of a command may be shown. `words`: its first ones, as names (a character is a byte). */
export function shownCount(words) {
  const [command = '', second = ''] = words.map(word => word.toUpperCase());
  const isHidden = Object.hasOwn(SHOWN, command) && !OPEN.has(`${command} ${second}`);
  return isHidden ? Math.min(SHOWN[command], words.length) : words.length;
}
