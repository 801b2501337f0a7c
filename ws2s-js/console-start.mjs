/** Begins the console: its form is there before the rest of it. */

import {startPage} from './elements.mjs';
import {targetFields} from './targets.mjs';

const TELNET = {
  name: 'telnet', label: 'Telnet', tag: 'select', remember: true,
  options: [['', 'if the target begins it'], ['on', 'yes'], ['off', 'no']],
};

const form = document.getElementById('connect-form');

export const fields = targetFields(form, {store: 'ws2s.console.targets', extra: [TELNET], startsTlsLater: true});

startPage(form, () => import('./console.js'));
