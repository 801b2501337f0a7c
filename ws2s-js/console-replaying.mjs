/** console-replaying.mjs: the controls with which a recording is looked at. */
import {byId, explain, visible} from './page.mjs';
import {replay} from './console-recording.mjs';

const TARGET_CHARACTERS = 200;

/** `page`: `log`, `status`, `beginReplay()`, which tells whether it may begin now, and `endReplay()`. */
export class Replaying {
  #page;
  #attempt = null;

  constructor(page) {
    this.#page = page;
    byId('replay').addEventListener('click', () => byId('replay-file').click());
    byId('replay-file').addEventListener('change', () => this.#onFile());
    byId('replay-stop').addEventListener('click', () => this.#attempt?.abort());
  }

  #onFile() {
    const [file] = byId('replay-file').files;
    byId('replay-file').value = '';
    if (file && this.#page.beginReplay()) this.#replay(file);
  }

  async #replay(file) {
    this.#attempt = new AbortController();
    byId('replay-stop').focus();
    try {
      await replay(file, {
        speed: Number(byId('replay-speed').value), signal: this.#attempt.signal,
        onHead: head => this.#begin(head), onEvent: event => this.#page.log.replayed(event),
      });
      this.#page.status.say('The recording has been replayed.', 'good');
    } catch (error) {
      const isStopped = error.name === 'AbortError';
      this.#page.status.say(isStopped ? 'The replay was stopped.' : explain(error).sentence, isStopped ? '' : 'bad');
    } finally {
      this.#end();
    }
  }

  #begin({target, begun}) {
    const {text} = visible(`Replaying a recording of ${target || 'an unknown target'}, ${begun}`, TARGET_CHARACTERS);
    this.#page.log.beginReplay();
    this.#page.log.replayed({kind: 'notice', what: text});
    this.#page.status.say(`${text}…`, 'busy');
  }

  #end() {
    const hadFocus = document.activeElement === byId('replay-stop');
    this.#page.endReplay();
    if (hadFocus) byId('replay').focus();
  }
}
