/**
 * console-colours.mjs: the colours of terminals as colours of a page, light or dark, in which each text can be read.
 *
 * Whatever a target asks for, text has the contrast to what is behind it that WCAG 2 wants (AA).
 */
import {RGB} from './console-ansi.mjs';

const LEAST_CONTRAST = 4.5;
const STEPS = 16;           // from a colour to black or white
const REMEMBERED = 1024;
const BLACK = 0x000000, WHITE = 0xffffff;

// --text and what is behind the output, of page.css; of --sunken and --surface the one with less contrast.
const THEMES = {
  light: {fore: 0x1b2430, back: 0xeef1f4},
  dark: {fore: 0xe2e7ed, back: 0x1a2027},
};

const NAMED = [
  0x000000, 0xb3261e, 0x1a6b3a, 0x8a5300, 0x1a5fb4, 0x8b3fa0, 0x0b6a75, 0xc0c6ce,
  0x6a7480, 0xe5534b, 0x3fa35f, 0xc99a2e, 0x4f93e6, 0xb56fd0, 0x2fa3b0, 0xffffff,
];
const CUBE = [0, 0x5f, 0x87, 0xaf, 0xd7, 0xff];

function fromPalette(number) {
  if (number < 16) return NAMED[number];
  if (number >= 232) return (8 + 10 * (number - 232)) * 0x010101;
  const cube = number - 16;
  return CUBE[Math.floor(cube / 36)] << 16 | CUBE[Math.floor(cube / 6) % 6] << 8 | CUBE[cube % 6];
}

function rgbOf(colour) {
  return colour >= RGB ? colour - RGB : fromPalette(colour);
}

const parts = rgb => [rgb >> 16, rgb >> 8 & 0xff, rgb & 0xff];

function luminance(rgb) {
  const [red, green, blue] = parts(rgb).map(part => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** From 1 to 21, of two colours `0xRRGGBB`. */
export function contrast(one, other) {
  const [less, more] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (more + 0.05) / (less + 0.05);
}

function mixed(one, other, share) {
  const others = parts(other);
  return parts(one).reduce((sum, part, i) => sum << 8 | Math.round(part + (others[i] - part) * share), 0);
}

/** `fore`, as much nearer to black or white as is needed to read it on `back`. */
export function readable(fore, back) {
  const aim = contrast(BLACK, back) > contrast(WHITE, back) ? BLACK : WHITE;
  let found = fore;
  for (let step = 1; contrast(found, back) < LEAST_CONTRAST; step++) found = mixed(fore, aim, step / STEPS);
  return found;
}

const css = rgb => `#${rgb.toString(16).padStart(6, '0')}`;

function themed(style, theme) {
  const own = THEMES[theme];
  const fore = style.fore === null ? own.fore : rgbOf(style.fore);
  const back = style.back === null ? own.back : rgbOf(style.back);
  const [front, behind] = style.isInverse ? [back, fore] : [fore, back];
  const text = readable(style.isFaint ? mixed(front, behind, 1 / 3) : front, behind);
  return [[`--ansi-${theme}`, css(text)], [`--ansi-${theme}-back`, behind === own.back ? 'transparent' : css(behind)]];
}

const CLASSES = [
  ['isBold', 'bold'], ['isItalic', 'italic'], ['isUnderlined', 'underlined'], ['isStruck', 'struck'],
];

function look(style) {
  const classes = CLASSES.filter(([name]) => style[name]).map(([, name]) => name);
  const isColoured = style.fore !== null || style.back !== null || style.isInverse || style.isFaint;
  if (isColoured) classes.push('coloured');
  const variables = isColoured ? Object.keys(THEMES).flatMap(theme => themed(style, theme)) : [];
  return {className: classes.join(' '), variables};
}

const looks = new Map();

/** How a style looks in a page: `{className, variables}`, a list of `[name, value]`. */
export function lookOf(style) {
  const key = Object.values(style).join();
  if (!looks.has(key)) {
    if (looks.size === REMEMBERED) looks.clear();
    looks.set(key, look(style));
  }
  return looks.get(key);
}
