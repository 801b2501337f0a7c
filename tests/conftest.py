"""For all tests: `ws2s` is the checkout's file, and with WS2S_TEST_STRICT=1 a skipped test has failed.

A machine that is meant to run everything sets it, so that a missing redis-server, browser or module cannot
pass unnoticed. What a machine may rightly forbid is owed: the reason of such a skip begins so.
"""
import os
import sys

import pytest

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(TESTS), TESTS]
OWED = 'owed: '


def fail_if_skipped(report):
    expected_to_fail = hasattr(report, 'wasxfail')
    if os.environ.get('WS2S_TEST_STRICT') == '1' and report.skipped and not expected_to_fail:
        path, line, reason = report.longrepr
        if reason.startswith(('Skipped: ' + OWED, OWED)):
            return
        report.outcome = 'failed'
        report.longrepr = '%s; with WS2S_TEST_STRICT=1 a failure (%s:%s)' % (reason, path, line)


# Outermost, to see what the skips' own plugin has made of the report.
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport():
    outcome = yield
    fail_if_skipped(outcome.get_result())


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_make_collect_report():
    outcome = yield
    fail_if_skipped(outcome.get_result())
