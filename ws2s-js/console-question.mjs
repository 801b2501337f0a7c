/** console-question.mjs: a question with which the page waits. */
import {element} from './page.mjs';

/** `answers`: their labels, by what it resolves to; for Cancel and Escape that is ''. The first one loses something. */
export function ask(title, text, answers) {
  const buttons = Object.entries(answers).map(([value, label], i) => element('button', {
    value, className: i ? '' : 'danger'}, label));
  const cancel = element('button', {value: '', autofocus: true}, 'Cancel');
  const node = element('dialog', {className: 'question', ariaLabelledby: 'question-title'},
    element('form', {method: 'dialog'},
      element('h2', {id: 'question-title'}, title), element('p', {}, text),
      element('div', {className: 'actions'}, ...buttons, cancel)));
  document.body.append(node);
  node.showModal();
  return new Promise(resolve => {
    node.addEventListener('close', () => {
      node.remove();
      resolve(node.returnValue);
    });
  });
}
