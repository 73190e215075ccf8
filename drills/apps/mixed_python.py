"""Python's workers of the drill mixed-fleet: the tasks of `mixed.ts` under the same names, which write the same lines into the same
ledger (`harness/ledger.ts` has the format)."""
import os
import time

from celery import Celery

app = Celery("mixed", broker=os.environ["INTEROP_BROKER"], backend=os.environ["INTEROP_RESULTS"])
app.conf.broker_connection_retry_on_startup = True
# One message a process at a time: it is to share the work, not to hoard it.
app.conf.worker_prefetch_multiplier = 1

ledger = os.open(os.environ["LOVAGE_DRILL_LEDGER"], os.O_WRONLY | os.O_APPEND)
worker = os.environ["LOVAGE_DRILL_WORKER"]


def task(name):
    """A task that notes its start and its end."""

    def define(work):
        def run(self, *args, **kwargs):
            def note(what):
                line = f"{what} {self.request.id} {self.request.retries + 1} {worker} {int(time.time() * 1000)}\n"
                os.write(ledger, line.encode())

            note("start")
            try:
                result = work(*args, **kwargs)
            except BaseException:
                note("fail")
                raise
            note("end")
            return result

        return app.task(name=name, bind=True, acks_late=True)(run)

    return define


@task("mixed.add")
def add(x, y):
    return x + y


@task("mixed.sum")
def sum_of(numbers):
    return sum(numbers)


@task("mixed.fail")
def fail(message):
    raise ValueError(message)


@task("mixed.sleep")
def sleep(seconds):
    time.sleep(seconds)
    return seconds
