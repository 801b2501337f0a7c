/**
 * What there is to say about the way to a target, in sections that can be closed: TLS, an SSH server, the gateway.
 *
 * Each has `node`; `name`, the field without which it is not in use; `showUse()`, which tells that in its title;
 * `read()`, which throws a FieldError; and `forget()` for when another target was chosen.
 */

import {byteCount, element, Status, visible} from './elements.mjs';

const LABEL_CHARACTERS = 80;
const KEY_BYTES = 65536;
const LOCAL_GATEWAY = 'ws://127.0.0.1:3613/';

/** The URL of the gateway that has served this page; of one on this machine when the page is a file. */
export function defaultGateway() {
  const {protocol, host, pathname} = location;
  if (protocol !== 'http:' && protocol !== 'https:') return LOCAL_GATEWAY;
  return `${protocol.replace('http', 'ws')}//${host}${pathname.slice(0, pathname.lastIndexOf('/') + 1)}`;
}

function section(id, title, note, fields) {
  const use = element('span');
  const node = element('details', {id: `target-${id}-section`}, element('summary', {}, title, use),
    note && element('p', {className: 'note'}, note), element('div', {className: 'fields'}, fields));
  return {node, use};
}

function useOf(text) {
  return text && `: ${visible(text, LABEL_CHARACTERS).text}`;
}

/** A field for a file that fills another field. `what`: what is read, such as "key". */
class FileFor {
  #control;
  #what;
  #file = null;  // the one that is being read
  #status;
  node;

  constructor(id, control, what, label) {
    const input = element('input', {type: 'file', id: `target-${id}`, on: {change: () => this.#onFile(input)}});
    this.#control = control;
    this.#what = what;
    this.#status = new Status(element('p', {id: `${input.id}-status`}));
    this.node = element('div', {className: 'field wide'},
      element('label', {htmlFor: input.id}, label), input, this.#status.node);
  }

  forget() {
    this.#file = null;
    this.#status.say('');
  }

  #onFile(input) {
    const [file] = input.files;
    input.value = '';
    if (!file) return;
    this.forget();
    if (file.size <= KEY_BYTES) this.#read(file);
    else this.#status.say(`This file has ${byteCount(file.size)}, which is far too much for a ${this.#what}.`, 'bad');
  }

  async #read(file) {
    this.#file = file;
    const text = await file.text().catch(error => error);
    if (this.#file !== file) return;  // meanwhile another target was chosen, which must not get this
    if (typeof text !== 'string') {
      this.#status.say('This file cannot be read.', 'bad');
      return;
    }
    this.#control.value = text;
    this.#status.say(`The ${this.#what} was read: ${byteCount(file.size)}.`, 'good');
  }
}

// -- SSH --------------------------------------------------------------------------------------------------------------

const SSH_FIELDS = [
  {name: 'sshHost', id: 'ssh-host', label: 'SSH host'},
  {name: 'sshPort', id: 'ssh-port', label: 'SSH port', placeholder: '22', inputMode: 'numeric', isShort: true},
  {name: 'sshUsername', id: 'ssh-username', label: 'SSH user name'},
  {name: 'sshPassword', id: 'ssh-password', label: 'SSH password', type: 'password'},
  {name: 'sshPrivateKey', id: 'ssh-private-key', label: 'Private key (PEM or OpenSSH)', tag: 'textarea',
    isSecret: true},
  {name: 'sshPassphrase', id: 'ssh-passphrase', label: 'Passphrase of the key', type: 'password'},
];
const SSH_LOGIN = ['sshUsername', 'sshPassword', 'sshPrivateKey', 'sshPassphrase'];

export class SshSection {
  #controls;
  #use;
  #keyFile;
  name = 'sshHost';

  constructor(controls) {
    this.#controls = controls;
    const fields = SSH_FIELDS.map(each => controls.build(each));
    this.#keyFile = new FileFor('ssh-key-file', controls.field('sshPrivateKey'), 'key',
      'Read the private key from a file');
    fields.splice(-1, 0, this.#keyFile.node);  // between the key and its passphrase
    const {node, use} = section('ssh', 'Through an SSH server', 'The SSH server then looks the host up and connects to '
      + 'it. Passwords and keys go to the gateway for this connection, and are kept nowhere.', fields);
    this.node = node;
    this.#use = use;
  }

  showUse() {
    this.#use.textContent = useOf(this.#controls.text('sshHost'));
  }

  forget() {
    this.#keyFile.forget();
  }

  /** The option `ssh` of a connection. */
  read() {
    const text = name => this.#controls.text(name);
    if (!text('sshHost')) return this.#none();
    return {
      host: this.#controls.readHost('sshHost'),
      port: text('sshPort') ? this.#controls.readPort('sshPort') : 22,
      username: text('sshUsername') || undefined,
      password: text('sshPassword') || undefined,
      privateKey: text('sshPrivateKey') || undefined,
      passphrase: text('sshPassphrase') || undefined,
    };
  }

  // Whoever has given a login for SSH does not want to be connected without it.
  #none() {
    if (!SSH_LOGIN.some(name => this.#controls.text(name))) return undefined;
    throw this.#controls.wrong('sshHost', 'Which SSH host? To go without SSH, clear its other fields.');
  }
}

// -- TLS --------------------------------------------------------------------------------------------------------------

const PEM = {tag: 'textarea', rows: 2};
// That a certificate is not verified must be wanted each time.
const kept = text => text && (text.startsWith('later') ? 'later' : 'verified');
const OPTIONS = [['', 'no'], ['verified', 'yes'], ['unverified', 'yes, without verification']];
const LATER_OPTIONS = [
  ['later', 'later, by a button (STARTTLS)'], ['later-unverified', 'later, without verification'],
];
const TLS_FIELDS = [
  {name: 'tls', id: 'tls', label: 'Speak TLS to the target', tag: 'select', kept},
  {name: 'tlsServername', id: 'tls-servername', label: 'Name in its certificate', placeholder: 'the host'},
  {...PEM, name: 'tlsCa', id: 'tls-ca', label: 'Own authority: trust these certificates only (PEM)'},
  {...PEM, name: 'tlsCert', id: 'tls-cert', label: 'Client certificate (PEM)', isSecret: true},
  {...PEM, name: 'tlsKey', id: 'tls-key', label: 'Key of the client certificate (PEM)', isSecret: true},
];
const TLS_NOTE = 'Without verification anybody on the way can pass for the target; the gateway refuses that unless its '
  + 'setting tls.allowUnverified is on. A client certificate and its key go to the gateway for this connection, and '
  + 'are kept nowhere.';
const TLS_USES = {
  verified: ': yes', unverified: ': without verification', later: ': later', 'later-unverified': ': later, without ' +
  'verification',
};
const PRIVATE_KEY = /PRIVATE KEY-----/;

export class TlsSection {
  #controls;
  #use;
  #files;
  name = 'tls';

  /** `startsLater`: may TLS begin in the midst of the connection? */
  constructor(controls, startsLater) {
    this.#controls = controls;
    const [tls, ...others] = TLS_FIELDS;
    const options = startsLater ? [...OPTIONS, ...LATER_OPTIONS] : OPTIONS;
    const fields = [{...tls, options}, ...others].map(each => controls.build(each));
    this.#files = [
      new FileFor('tls-ca-file', controls.field('tlsCa'), 'certificate', 'Read the authority from a file'),
      new FileFor('tls-cert-file', controls.field('tlsCert'), 'certificate', 'Read the client certificate from a file'),
      new FileFor('tls-key-file', controls.field('tlsKey'), 'key', 'Read its key from a file'),
    ];
    const [ca, cert, key] = this.#files.map(each => each.node);
    const [tlsField, servername, caField, certField, keyField] = fields;
    const {node, use} = section('tls', 'TLS to the target', TLS_NOTE,
      [tlsField, servername, caField, ca, certField, cert, keyField, key]);
    this.node = node;
    this.#use = use;
  }

  showUse() {
    this.#use.textContent = TLS_USES[this.#controls.text('tls')] || '';
  }

  forget() {
    for (const file of this.#files) file.forget();
  }

  /** `{tls}`, the option of a connection; `{startTls}` for what is to be given to startTls() later. */
  read() {
    const text = name => this.#controls.text(name).trim() || undefined;
    const tls = text('tls');
    if (!tls) return this.#none();
    this.#checkPems();
    return {[tls.startsWith('later') ? 'startTls' : 'tls']: {
      servername: text('tlsServername') && this.#controls.readHost('tlsServername'),
      verify: tls.endsWith('unverified') ? false : undefined,
      ca: text('tlsCa'), cert: text('tlsCert'), key: text('tlsKey'),
    }};
  }

  // Whoever has said with whom TLS is to be spoken does not want to be connected without it.
  #none() {
    const given = TLS_FIELDS.some(({name}) => this.#controls.text(name).trim());
    if (given) throw this.#controls.wrong('tls', 'With TLS? To go without, clear the other fields of TLS.');
    return {};
  }

  // An authority is remembered: no key may stand there.
  #checkPems() {
    const [ca, cert, key] = ['tlsCa', 'tlsCert', 'tlsKey'].map(name => this.#controls.text(name).trim());
    if (PRIVATE_KEY.test(ca)) {
      throw this.#controls.wrong('tlsCa', 'A private key stands here. It has a field of its own.');
    }
    const isKeyMissing = cert && !key && !PRIVATE_KEY.test(cert);
    if (isKeyMissing) throw this.#controls.wrong('tlsKey', 'The key of the certificate is missing.');
    if (key && !cert) throw this.#controls.wrong('tlsCert', 'The certificate of the key is missing.');
  }
}

// -- the gateway ------------------------------------------------------------------------------------------------------

export class GatewaySection {
  #controls;
  #use;
  name = 'gateway';

  constructor(controls) {
    this.#controls = controls;
    const fields = [
      // A query may hold a key to the gateway.
      {name: 'gateway', label: 'URL of the gateway', value: defaultGateway(), isWide: true,
        kept: text => (text === defaultGateway() || text.includes('?') ? '' : text)},
      {name: 'token', label: 'Access token (if the gateway wants one)', type: 'password', isWide: true},
    ].map(each => controls.build(each));
    const {node, use} = section('gateway', 'Gateway', null, fields);
    this.node = node;
    this.#use = use;
  }

  // Without the query.
  showUse() {
    const gateway = this.#controls.text('gateway');
    const isOther = gateway !== defaultGateway() && URL.canParse(gateway);
    this.#use.textContent = useOf(isOther ? new URL(gateway).host : '');
  }

  forget() {}

  /** `{url, token}` */
  read() {
    const text = this.#controls.text('gateway') || defaultGateway();
    const url = URL.canParse(text) ? new URL(text) : null;
    if (!url || !/^wss?:$/.test(url.protocol)) {
      throw this.#controls.wrong('gateway', 'The URL of the gateway begins with ws:// or wss://.');
    }
    if (url.username || url.password) {
      throw this.#controls.wrong('gateway', 'The URL of the gateway may not hold a password.');
    }
    url.hash = '';
    return {url: url.href, token: this.#controls.text('token').trim() || undefined};
  }
}
