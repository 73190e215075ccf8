"""Next instants of real celery.schedules.crontab: JSON cases on the input, JSON answers on the output, one process for all.

A case is {"fields": {...}, "after": epoch seconds, "count": n}; the answer is a list of epoch seconds, or an error's text.
Each instant is asked of Celery as its beat does: last_run_at is the instant before, and now is the same.
"""
import json
import sys
from datetime import datetime, timedelta, timezone

import celery
from celery import Celery
from celery.schedules import crontab

app = Celery('schedules')
app.conf.timezone = 'UTC'
app.conf.enable_utc = True


def instants(case):
    """Celery's next `count` instants after `after`."""
    clock = [datetime.fromtimestamp(case['after'], timezone.utc)]
    fields = case['fields']
    make = crontab.from_string if isinstance(fields, str) and hasattr(crontab, 'from_string') else None
    entry = make(fields) if make else crontab(**fields)
    entry.app = app
    entry.nowfun = lambda: clock[0]
    found = []
    for _ in range(case['count']):
        wait = entry.remaining_estimate(clock[0])
        due, seconds = entry.is_due(clock[0])
        if due or abs(seconds - wait.total_seconds()) > 0.001:
            raise AssertionError('is_due %r and remaining_estimate %r differ' % ((due, seconds), wait))
        clock[0] = clock[0] + wait
        found.append(round(clock[0].timestamp()))
        # On time, a second later nothing is due any more, and a second earlier nothing was.
        last = clock[0] - wait
        entry.nowfun = lambda: clock[0]
        if entry.is_due(last)[0] is not True:
            raise AssertionError('not due at %r' % clock[0])
        entry.nowfun = lambda: clock[0] - timedelta(seconds=1)
        if wait.total_seconds() > 1 and entry.is_due(last)[0] is not False:
            raise AssertionError('due before %r' % clock[0])
        entry.nowfun = lambda: clock[0]
    return found


def answer(case):
    try:
        found = instants(case)
        text = repr(crontab(**case['fields'])) if isinstance(case['fields'], dict) else None
        return {'slots': found, 'repr': text}
    except Exception as error:  # told to the test, which knows whether it was to be
        return {'error': '%s: %s' % (type(error).__name__, error)}


cases = json.load(sys.stdin)
json.dump({'celery': celery.__version__, 'answers': [answer(case) for case in cases]}, sys.stdout)
