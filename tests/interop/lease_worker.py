"""A Celery worker that acknowledges late, with a visibility timeout of five seconds, for the tests of leases.

Each run is written to the file named by LEASE_LEDGER: "start KEY", then "end KEY".
"""
import os
import time

from celery import Celery

app = Celery("lease-worker", broker=os.environ["INTEROP_BROKER"], backend=os.environ["INTEROP_RESULTS"])
app.conf.broker_transport_options = {"visibility_timeout": 5}
app.conf.task_acks_late = True
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False


def note(line):
    with open(os.environ["LEASE_LEDGER"], "a") as ledger:
        ledger.write(line + "\n")


@app.task(name="lease.slow")
def slow(key, seconds):
    note(f"start {key}")
    time.sleep(seconds)
    note(f"end {key}")
    return key
