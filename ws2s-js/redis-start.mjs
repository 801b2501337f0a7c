/** Begins the Redis page: its form is there before the rest of it. */

import {startPage} from './elements.mjs';
import {targetFields} from './targets.mjs';

const EXTRA = [
  {name: 'username', label: 'Username (empty: default)', type: 'text', autocomplete: 'off'},
  {name: 'password', label: 'Password', type: 'password', autocomplete: 'off'},
  {name: 'db', label: 'Database', type: 'text', value: '0', remember: true, isShort: true, inputMode: 'numeric'},
  {name: 'master', label: 'Master (if this is a Sentinel)', remember: true},
  {name: 'readOnly', label: 'Read-only', tag: 'select', remember: true,
    options: [['', 'no'], ['yes', 'yes: send nothing that may write']]},
];

const form = document.getElementById('connect-form');

export const fields = targetFields(form, {store: 'ws2s.redis', host: '127.0.0.1', port: '6379', extra: EXTRA});

startPage(form, () => import('./redis.js'));
