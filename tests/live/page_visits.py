# -*- coding: utf-8 -*-
"""What somebody does again and again at the pages that come with ws2s."""


def fill_target(visitor, port, host='127.0.0.1'):
    visitor.fill('#target-host', host)
    visitor.fill('#target-port', str(port))


def connect(visitor, port, status='Connected to', host='127.0.0.1'):
    """Of either page."""
    fill_target(visitor, port, host)
    visitor.click('#connect')
    return visitor.wait_for_text('#status', status)


def log_in(visitor, port):
    """Connect, and wait until the first keys are found."""
    connect(visitor, port, 'found.')


def open_key(visitor, pattern):
    """Of the one key that it matches."""
    visitor.fill('#pattern', pattern)
    visitor.click('#find')
    visitor.wait_for_text('#key-count', '1 key found')
    visitor.click('.key-row')
    visitor.wait_until_shown('#key-facts')


def run_command(visitor, line):
    """At the command line; the reply."""
    visitor.click('#tab-commands')
    replies = len(visitor.texts('#log .entry-reply'))
    visitor.fill('#command', line)
    visitor.press('Enter')
    visitor.wait_for(lambda: len(visitor.texts('#log .entry-reply')) > replies, 'a reply to ' + line)
    return visitor.texts('#log .entry-reply')[-1]


def submit(visitor, dialog, words):
    """The open dialog, and wait for what is told then."""
    visitor.click('#%s-submit' % dialog)
    visitor.wait_for_text('#status', words)
    visitor.wait_until_hidden('#' + dialog)


def tab_to(visitor, name):
    """By keyboard to the element of this id."""
    for _ in range(20):
        if visitor.focused() == name:
            return
        visitor.press('Tab')
    raise AssertionError('the focus does not come to ' + name)


def hasten(visitor):
    """Whatever waits to connect again does so now, as when the network is back: those pauses grow up to 30 s."""
    visitor.page.evaluate("dispatchEvent(new Event('online')); 0")


def let_pass(visitor, seconds):
    """By the clock of the page: more time than was really waited."""
    visitor.page.evaluate('performance.now = (now => () => now.call(performance) + %d)(performance.now); 0'
                          % (1000 * seconds))
