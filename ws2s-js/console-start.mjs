/** Begins the console: its form is there before the rest of it. */

import {startPage} from './page.mjs';
import {targetFields} from './targets.mjs';

const form = document.getElementById('connect-form');

export const fields = targetFields(form, {store: 'ws2s.console.targets'});

startPage(form, () => import('./console.js'));
