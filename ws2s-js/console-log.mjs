/** console-log.mjs: what happens, as it is shown, saved and recorded. */
import {byId, saveFile, visible} from './page.mjs';
import {ask} from './console-question.mjs';
import {Output} from './console-output.mjs';
import {Recording} from './console-recording.mjs';
import {savedText, Transcript} from './console-transcript.mjs';

const NOTICE_CHARACTERS = 1000;
const UNSAVED = 'What this connection has sent and received is not saved.';
const ANSWERS = {clear: 'Clear', save: 'Save and clear'};

function nameOf(extension) {
  return `ws2s-${new Date().toISOString().slice(0, 19).replace(/[:T]/g, '-')}.${extension}`;
}

/** Keeps what happens, and has the buttons for that. */
export class Log {
  #transcript = new Transcript();
  #recording = null;
  #target = '';
  #isLive;

  output = new Output(this.#transcript);

  /** `isLive()`: is there a connection, of which the transcript would be lost? */
  constructor({isLive = () => false} = {}) {
    this.#isLive = isLive;
    byId('view').addEventListener('change', () => this.showView());
    byId('save').addEventListener('click', () => this.#save());
    byId('clear').addEventListener('click', () => this.#clear());
    byId('record').addEventListener('click', () => this.#toggleRecording());
  }

  /** Would it be a loss if the page was gone? */
  get isUnsaved() {
    return this.#transcript.isUnsaved || this.isRecording;
  }

  /** Is there a recording that is not saved yet? */
  get isRecording() {
    return this.#recording !== null && this.#recording.size > 0;
  }

  /** What comes next is that of another connection. */
  beginStream(target) {
    this.#target = target;
    if (this.#recording) this.#recording.target ||= target;  // a recording may have begun before
    this.#transcript.beginStream();
  }

  tell(text, tone) {
    this.#transcript.notice(text, tone);
    this.#record('notice', text);
  }

  sent(bytes) {
    this.#transcript.sent(bytes);
    this.#record('sent', bytes);
  }

  secret() {
    this.#transcript.secret();
    this.#record('secret');
  }

  received(bytes) {
    this.#transcript.received(bytes);
    this.#record('received', bytes);
  }

  /** What is replayed comes next. */
  beginReplay() {
    this.#transcript.beginStream();
  }

  /** What stands in a recording: it is saved there already, and is not recorded again. */
  replayed({kind, what}) {
    const {isUnsaved} = this.#transcript;
    // Anybody may have written a notice into a file.
    this.#transcript[kind](kind === 'notice' ? visible(what, NOTICE_CHARACTERS).text : what);
    this.#transcript.isUnsaved = isUnsaved;
    this.output.update();
  }

  showView() {
    this.output.view = byId('view').value;
    this.output.showAgain();
  }

  #record(kind, what) {
    const wasFull = !this.#recording || this.#recording.isFull;
    this.#recording?.[kind](what);
    if (!wasFull && this.#recording.isFull) this.#tellFull();
    this.output.update();
  }

  #tellFull() {
    this.#transcript.notice('The recording is full: nothing more is recorded. Press Record again to save it.', 'bad');
  }

  #toggleRecording() {
    if (this.#recording) this.#endRecording();
    else this.#beginRecording();
    byId('record').setAttribute('aria-pressed', String(this.#recording !== null));
    this.output.update();
  }

  #beginRecording() {
    this.#transcript.notice('Recording. Press Record again to save it.');
    this.#recording = new Recording(this.#target);
  }

  #endRecording() {
    const {lines, size} = this.#recording;
    this.#recording = null;
    if (size) saveFile(nameOf('ws2s.jsonl'), lines, 'application/jsonl');
    this.#transcript.notice(size ? 'The recording was saved.' : 'There was nothing to record.');
  }

  async #clear() {
    const isAsked = this.#isLive() && this.#transcript.isUnsaved;
    const answer = isAsked ? await ask('Clear the transcript?', UNSAVED, ANSWERS) : 'clear';
    if (answer === 'save') this.#save();
    if (answer) this.#drop();
  }

  #drop() {
    this.#transcript.clear();
    this.output.update();
  }

  #save() {
    saveFile(nameOf('txt'), [...savedText(this.#transcript, this.output.view)], 'text/plain;charset=utf-8');
    this.#transcript.isUnsaved = false;
  }
}
