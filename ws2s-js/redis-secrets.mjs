/** redis-secrets.mjs: which words of a command that somebody else has sent may be shown. */

// How many words are shown of commands that may hold a password, in any place. All is hidden behind those.
const SHOWN = {
  'AUTH': 1, 'HELLO': 1, 'MIGRATE': 1, 'ACL': 2, 'CONFIG': 2, 'SENTINEL': 2, 'MODULE': 2, 'NAMESPACE': 2,
};
// Of these nothing is secret, so that they can be told apart.
const OPEN = new Set([
  'ACL CAT', 'ACL LIST', 'ACL LOG', 'ACL USERS', 'ACL WHOAMI', 'CONFIG GET', 'CONFIG RESETSTAT', 'CONFIG REWRITE',
]);
// In any command what stands behind such a word may be a password; and in a script that speaks of one, anything.
const NAMING = /^(auth2?|requirepass|masterauth|primaryauth|(.*[-_])?pass(word|wd)?)$/i;
const SCRIPTS = ['EVAL', 'EVAL_RO', 'FUNCTION', 'SCRIPT'];
const OF_SECRETS = /auth|pass|secret/i;

/** How many words of a command may be shown. `words`: its first ones, as names (a character is a byte). */
export function shownCount(words) {
  const [command = '', second = ''] = words.map(word => word.toUpperCase());
  const isHidden = Object.hasOwn(SHOWN, command) && !OPEN.has(`${command} ${second}`);
  if (isHidden) return Math.min(SHOWN[command], words.length);
  if (SCRIPTS.includes(command) && words.some(word => OF_SECRETS.test(word))) return 1;
  const naming = words.findIndex((word, i) => i > 0 && NAMING.test(word));
  return naming < 0 ? words.length : naming + 1;
}
