"""A picture of the results: a panel of bars for each figure where less is better. SVG by hand."""
import statistics
from xml.sax.saxutils import escape

import report

WIDTH, MARGIN, GAP = 900, 20, 30
PANEL = (WIDTH - 2 * MARGIN - GAP) // 2
NAME, BAR, ROW, HEAD = 150, 215, 18, 34
LONGEST = 4            # times the median: longer bars are cut, or one would leave the others no room
OURS, THEIRS, CUT = '#1f6feb', '#9aa4b2', '#ffffff'

NOTE = 'Shorter is better; a bar with a gap is longer than drawn. '

# (title, mode, clients or None for any, unit)
PANELS = (
    ('Download: CPU seconds for a GB', 'download', None, 'CPU s/GB'),
    ('Upload: CPU seconds for a GB', 'upload', None, 'CPU s/GB'),
    ('Round trip, 100 clients: CPU µs each', 'round-trip', 100, 'CPU µs each'),
    ('Round trip, 100 streams in 10 WebSockets: CPU µs each', 'streams', None, 'CPU µs each'),
    ('Round trip, 1 client: CPU µs each', 'round-trip', 1, 'CPU µs each'),
    ('Open, one echo, close: CPU µs each', 'open', None, 'CPU µs each'),
    ('Idle client with a target: KB', 'idle', None, 'KB each'),
    ('Round trip beside 8 downloads: median µs', 'latency', None, 'p50 µs'),
    ('Round trip beside 8 downloads: 99 % within µs', 'latency', None, 'p99 µs'),
)


def picture(seen):
    panels = [(title, found) for title, found in ((panel[0], bars(seen, *panel[1:])) for panel in PANELS) if found]
    body, top = [], MARGIN
    for first in range(0, len(panels), 2):
        pair = panels[first:first + 2]
        for number, (title, found) in enumerate(pair):
            body += drawn(MARGIN + number * (PANEL + GAP), top, title, found)
        top += HEAD + ROW * max(len(found) for _, found in pair) + GAP // 2
    body.append(text(MARGIN, top + 12, NOTE + machine_of(seen), size=11, fill='#57606a'))
    return document(top + MARGIN + 12, body)


def bars(seen, mode, clients, unit):
    """(server, form, value) where there is one."""
    source = (mode, clients, unit)
    found = [(server, form, report.value_of(seen, server, form, source))
             for server, form, _ in report.contestants(seen)]
    return [one for one in found if one[2] is not None and one[2] != 'failed']


def machine_of(seen):
    return next((report.machine_line(one['machine']) for one in seen if 'machine' in one), '')


def drawn(left, top, title, found):
    longest = min(max(value for _, _, value in found), LONGEST * statistics.median(value for _, _, value in found))
    lines = [text(left, top + 16, title, size=14, weight='bold')]
    for number, (server, form, value) in enumerate(found):
        lines += bar(left, top + HEAD + number * ROW, server, form, value, value / longest if longest > 0 else 0)
    return lines


def bar(left, top, server, form, value, share):
    name = server if form == 'binary' else '%s, %s' % (server, report.NAMES_OF_FORMS.get(form, form))
    length = max(1, round(BAR * min(1, max(0, share))))
    lines = [text(left + NAME - 8, top + 11, name, anchor='end'),
             rectangle(left + NAME, top, length, ROW - 5, OURS if report.is_ours(server) else THEIRS)]
    if share > 1:
        lines.append(cut(left + NAME + length - 20, top, ROW - 5))
    return lines + [text(left + NAME + length + 6, top + 11, report.number(value))]


def cut(left, top, height):
    return '<path d="M%d %dl6 -%dh5l-6 %dz" fill="%s"/>' % (left, top + height, height, height, CUT)


def rectangle(left, top, width, height, fill):
    return '<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>' % (left, top, width, height, fill)


def text(left, top, words, size=12, anchor='start', weight='normal', fill='#1f2328'):
    return '<text x="%d" y="%d" font-size="%d" text-anchor="%s" font-weight="%s" fill="%s">%s</text>' % (
        left, top, size, anchor, weight, fill, escape(words))


def document(height, body):
    head = ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" '
            'font-family="system-ui, sans-serif">' % (WIDTH, height, WIDTH, height))
    return '\n'.join([head, rectangle(0, 0, WIDTH, height, '#ffffff')] + body + ['</svg>', ''])
