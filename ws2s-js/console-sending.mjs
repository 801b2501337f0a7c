/** console-sending.mjs: the controls with which a file is sent. */
import {byId, byteCount, explain, visible} from './page.mjs';
import {sendFile} from './console-file.mjs';

const NAME_CHARACTERS = 80;

/** `page`: `line`, `log`, `sendStatus`, and `refusal(size)`, why that many bytes cannot be sent, or ''. */
export class FileSending {
  #page;
  #attempt = null;     // an AbortController, while one is sent
  #taken = 0;          // how much of the file the target's gateway has taken

  constructor(page) {
    this.#page = page;
    byId('send-file').addEventListener('click', () => byId('file').click());
    byId('file').addEventListener('change', () => this.#onFile());
    byId('file-stop').addEventListener('click', () => this.#attempt?.abort());
  }

  get isBusy() {
    return this.#attempt !== null;
  }

  #onFile() {
    const [file] = byId('file').files;
    byId('file').value = '';  // the same one can be chosen again
    if (!file) return;
    const refusal = this.#page.refusal(file.size);
    this.#page.sendStatus.say(refusal, refusal && 'bad');
    if (!refusal) this.#send(file, this.#page.line);
  }

  async #send(file, line) {
    const name = visible(file.name, NAME_CHARACTERS).text;
    this.#begin(file, name);
    try {
      const {signal} = this.#attempt;
      const isWhole = await sendFile(file, line, {signal, onProgress: taken => this.#show(taken, file)});
      this.#tell(name, file, isWhole ? '' : 'the connection has ended');
    } catch (error) {
      this.#tell(name, file, error.name === 'AbortError' ? 'it was stopped' : explain(error).sentence);
    } finally {
      this.#end();
    }
  }

  #begin(file, name) {
    this.#attempt = new AbortController();
    byId('file-row').hidden = false;
    byId('file-name').textContent = name;
    byId('file-bar').max = file.size;
    this.#show(0, file);
    byId('file-stop').focus();
    this.#page.log.tell(`Sending the file ${name}: ${byteCount(file.size)}…`);
  }

  #show(taken, file) {
    this.#taken = taken;
    byId('file-bar').value = taken;
    byId('file-count').textContent = `${byteCount(taken)} of ${byteCount(file.size)}`;
  }

  // `failure`: why it was not sent to its end. The pieces ahead may still arrive then.
  #tell(name, file, failure) {
    const text = failure ? `The file ${name} was not sent to its end: ${failure}. ` +
      `At least ${byteCount(this.#taken)} of ${byteCount(file.size)} went out.` : `The file ${name} was sent.`;
    this.#page.log.tell(text, failure ? 'bad' : 'good');
    this.#page.sendStatus.say(text, failure ? 'bad' : 'good');
  }

  #end() {
    const hadFocus = document.activeElement === byId('file-stop');
    this.#attempt = null;
    byId('file-row').hidden = true;
    if (hadFocus) byId(byId('send-file').hidden ? 'input' : 'send-file').focus();
  }
}
