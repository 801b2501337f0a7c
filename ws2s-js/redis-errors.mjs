/** What can go wrong between the page and Redis, and how it is told to people. */

import {failureText, visible} from './page.mjs';
import {RedisError, WS2SError} from './ws2s.mjs';

const ERROR_CHARACTERS = 1000;

/**
 * What somebody else has changed meanwhile: nothing was written. `isGone`: what was edited does not exist any more;
 * `isMissing`: and there is nothing in its place.
 */
export class ChangedError extends Error {
  constructor(message, isGone = false, isMissing = false) {
    super(message);
    this.name = 'ChangedError';
    this.isGone = isGone;
    this.isMissing = isMissing;
  }
}

const BEHIND = 'The connection was lost before an answer came. The command may have been carried out, or not. '
  + '(not-answered)';

const SENTENCES = {
  NOAUTH: 'Redis wants a password.',
  WRONGPASS: 'Redis does not accept this username or password.',
  NOPERM: 'This user may not do that here.',
  NOPROTO: 'Redis does not speak that version of its protocol.',
  WRONGTYPE: 'The key holds another type of value than this command is for.',
  LOADING: 'Redis is loading its data. Try again in a moment.',
  BUSY: 'Redis is busy with a script. Try again in a moment.',
  READONLY: 'This server is a read-only replica. Connect to its primary to change something.',
  MISCONF: 'Redis takes no changes, because it cannot save them to disk.',
  OOM: 'Redis takes no changes, because its memory limit is reached.',
  MASTERDOWN: 'This server is a replica that has lost its primary.',
  MOVED: 'The key is on another node of the cluster than this was asked of.',
  ASK: 'The key is moving to another node of the cluster. Try again in a moment.',
  CROSSSLOT: 'These keys are on different nodes of the cluster.',
  CLUSTERDOWN: 'The cluster is down.',
  BUSYKEY: 'There is already a key with this name.',
  EXECABORT: 'Redis has refused the transaction.',
  DENIED: 'Redis is in protected mode: it takes connections without a password from its own machine only.',
};

/** A sentence for people about an error of Redis, in which the server's own words follow; null about other errors. */
export function sentenceOf(error) {
  if (OWN_ERRORS.some(kind => error instanceof kind)) return error.message;
  if (ends.get(error) === null) return BEHIND;
  if (!(error instanceof RedisError)) return null;
  const isNoPassword = error.code === 'ERR' && /without any password|no password is set/i.test(error.message);
  const known = Object.hasOwn(SENTENCES, error.code) ? SENTENCES[error.code] : 'Redis has answered with an error.';
  const sentence = isNoPassword ? 'This server has no password: connect without one.' : known;
  const {text: words, isCut} = visible(error.message, ERROR_CHARACTERS);
  return `${sentence} (${words}${isCut ? '…' : ''})`;
}

/** A command that a read-only connection does not send. */
export class ReadOnlyError extends Error {
  constructor(message) {
    super(message);
    this.name = 'ReadOnlyError';
  }
}

/** A command that is not sent any more. */
export class EndedError extends Error {
  constructor(command, message) {
    super(message);
    this.name = 'EndedError';
    this.command = command;
  }
}

/** A server that takes connections, but was not found to be Redis. */
export class UnprovedError extends Error {
  constructor(message) {
    super(message);
    this.name = 'UnprovedError';
  }
}

/** What has failed between the gateway and one of several servers: `what` names it. `isLoss`: it may be there later. */
export class NodeError extends Error {
  constructor(what, error) {
    super(`${what}: ${failureText(error)}`, {cause: error});
    this.name = 'NodeError';
    this.isLoss = error.reason !== 'forbidden';
  }
}

/** There is no master, or not where a Sentinel tells. */
export class MasterError extends Error {
  isLoss = true;

  constructor(message) {
    super(message);
    this.name = 'MasterError';
  }
}

// Their messages are sentences for people.
const OWN_ERRORS = [ChangedError, EndedError, MasterError, NodeError, ReadOnlyError, UnprovedError];

/** Why a connection that was made is of no use. What the page has asked till then changes nothing on the server. */
export function unproved(error) {
  const command = endOf(error);
  if (command) {
    return new UnprovedError(`The server has ended the connection at ${command}: it is not Redis, or it does not serve `
      + 'clients from here. (closed)');
  }
  const why = error.reason === 'not-answered' && error.cause ? error.cause : error;
  if (!(why instanceof WS2SError) || why.reason !== 'timeout') return why;
  return new UnprovedError('The target takes the connection, but answers nothing that is understood: it is not Redis, '
    + 'or it is stuck. (timeout)');
}

/** The command at which the server, or a proxy before it, has ended the connection; null for all other failures. */
export function endOf(error) {
  return error instanceof EndedError ? error.command : ends.get(error) || null;
}

const ends = new WeakMap();  // of errors: the command at which the connection was ended, or null for one behind that

/** Note whether this failure is the one at which a connection was ended. */
export function noteEnd(error, command) {
  ends.set(error, command);
}

/** Was a command not answered because the target has ended the connection? */
export function isAtEnd(error) {
  const {cause} = error;
  return error instanceof WS2SError && error.reason === 'not-answered' && cause instanceof WS2SError
    && cause.code === 5 && ['closed', 'reset'].includes(cause.reason)
    && !(cause.cause instanceof RedisError);  // then Redis has said why
}

const TOO_MANY = /max number of clients/i;
const LOGIN_CODES = ['NOAUTH', 'WRONGPASS', 'DENIED'];
const LOGIN_WORDS = /invalid password|operation not permitted/i;  // before 6.0 they were plain errors

/** Does Redis refuse who we are? */
export function isOfLogin(error) {
  return LOGIN_CODES.includes(error.code) || LOGIN_WORDS.test(error.message);
}

/** Does Redis take no more clients now? */
export function isTooMany(error) {
  return error instanceof RedisError && TOO_MANY.test(error.message);
}

/** Does this server not know what it was asked for? Then there is an older way. */
export function isUnknown(error) {
  return error instanceof RedisError && /syntax error|unknown (sub)?command|wrong number of arg/i.test(error.message);
}

/** May this user not ask for that? */
export function isForbidden(error) {
  return error instanceof RedisError && error.code === 'NOPERM';
}
