"""A real Celery worker with the tasks of examples/interop/app.ts, for our client to call.

Usage: celery -A pyworker worker ..., with INTEROP_BROKER and INTEROP_RESULTS in the environment.
"""
import json
import os
import time
from collections import Counter

from celery import Celery

app = Celery("interop-worker", broker=os.environ["INTEROP_BROKER"], backend=os.environ["INTEROP_RESULTS"])
app.conf.task_default_queue = "python"
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False
if "INTEROP_BROKER_SSL" in os.environ:
    app.conf.broker_use_ssl = json.loads(os.environ["INTEROP_BROKER_SSL"])
if "INTEROP_PREFIX" in os.environ:
    app.conf.broker_transport_options = app.conf.result_backend_transport_options = {"global_keyprefix": os.environ["INTEROP_PREFIX"]}

tries = Counter()


@app.task(name="py.add")
def add(x, y):
    return x + y


@app.task(name="shared.language")
def language(sender):
    return "Python"


@app.task(name="py.sum")
def sum_of(numbers):
    return sum(numbers)


@app.task(name="py.echo")
def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


@app.task(name="py.fail")
def fail(message):
    raise ValueError(message)


@app.task(name="py.flaky", bind=True, max_retries=5)
def flaky(self, key, times):
    if self.request.retries < times:
        raise self.retry(countdown=0.2, exc=RuntimeError("not yet"))
    return {"key": key, "tries": self.request.retries + 1}


@app.task(name="py.sleep")
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@app.task(name="py.progress", bind=True)
def progress(self, n):
    for current in range(1, n + 1):
        self.update_state(state="PROGRESS", meta={"current": current, "total": n})
        time.sleep(0.3)
    return n


@app.task(name="py.request", bind=True)
def request_info(self):
    request = self.request
    return {"id": request.id, "priority": request.delivery_info.get("priority"), "eta": request.eta, "expires": request.expires, "headers": request.headers}


def total_of(value):
    return sum(total_of(each) for each in value) if isinstance(value, list) else value


@app.task(name="py.total")
def total(value, amount):
    return total_of(value) + amount


@app.task(name="py.refuse")
def refuse(value, amount):
    raise ValueError("as told")
