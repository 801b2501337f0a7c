/* node v86_client.js SETTINGS: v86 as a page has it, with a machine in it that boots Debian's iPXE, which has network cards,
 * TCP and HTTP of its own. It ends when the machine says one of `ends` on its screen, and writes that screen as JSON. */
'use strict';

const fs = require('fs');
const path = require('path');

const {gateway, files, commands, ends} = JSON.parse(process.argv[2]);
const v86 = process.env.NODE_PATH + '/v86/build/';
const COLUMNS = 80, ROWS = 25, BLOCK = 512;

globalThis.WebSocket = require('ws');

/* Whole blocks: v86 reads a kernel by words. */
function image(file) {
  const content = fs.readFileSync(file);
  const blocks = new Uint8Array(Math.ceil(content.length / BLOCK) * BLOCK);
  blocks.set(content);
  return {buffer: blocks.buffer};
}

/* Each redraw tells of all cells, so the screen is read at times. */
function watch(emulator) {
  const cells = Array.from({length: ROWS}, () => Array(COLUMNS).fill(' '));
  emulator.add_listener('screen-put-char', ([row, column, code]) => {
    if (row < ROWS && column < COLUMNS) cells[row][column] = code > 32 ? String.fromCharCode(code) : ' ';
  });
  setInterval(() => {
    const screen = cells.map(line => line.join('').trimEnd()).join('\n');
    if (!ends.some(end => screen.includes(end))) return;
    console.log(JSON.stringify(screen));
    process.exit(0);
  }, 100);
}

import(path.join(v86, 'libv86.mjs')).then(({V86}) => {
  watch(new V86({
    wasm_path: path.join(v86, 'v86.wasm'), memory_size: 32 << 20, vga_memory_size: 2 << 20,
    bios: image(files.bios), vga_bios: image(files.vga), bzimage: image(files.kernel), cmdline: commands.join(' && '),
    net_device: {type: 'ne2k', relay_url: `wisp://${gateway}/wisp/`},
    autostart: true, disable_keyboard: true, disable_mouse: true, disable_speaker: true,
  }));
});
