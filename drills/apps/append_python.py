"""Python's side of drill 11: the task of `tasks.ts`, on a Celery worker that shares the queue and acks late. It writes the
same lines into the same ledger (`harness/ledger.ts` has the format)."""
import os
import time

from celery import Celery

app = Celery("append", broker=os.environ["INTEROP_BROKER"], backend=os.environ["INTEROP_RESULTS"])
app.conf.broker_connection_retry_on_startup = True
# One message a process at a time: it is to share the work, not to hoard it.
app.conf.worker_prefetch_multiplier = int(os.environ.get("LOVAGE_DRILL_PREFETCH", "1"))

ledger = os.open(os.environ["LOVAGE_DRILL_LEDGER"], os.O_WRONLY | os.O_APPEND)
worker = os.environ["LOVAGE_DRILL_WORKER"]


def note(what, request):
    os.write(ledger, f"{what} {request.id} {request.retries + 1} {worker} {int(time.time() * 1000)}\n".encode())


@app.task(name="drill.append", bind=True, acks_late=True)
def append(self, ms):
    note("start", self.request)
    time.sleep(ms / 1000)
    note("end", self.request)
    return worker
