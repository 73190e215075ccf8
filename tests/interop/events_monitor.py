"""A real Celery monitor, as Flower is one: a receiver of events that feeds celery.events.state.State.

Usage: events_monitor.py BROKER_URL; ends when standard input does.
Prints {"listening": true}, then each event as a line of JSON, and at the end {"state": {"workers": ..., "tasks": ...}}.
"""
import json
import sys
import threading

from celery import Celery
from celery.events.state import State

app = Celery("interop-monitor", broker=sys.argv[1])
app.conf.broker_connection_retry_on_startup = True
state = State()


def say(value):
    print(json.dumps(value, default=repr), flush=True)


def on_event(event):
    say(event)
    state.event(event)


class Monitor(app.events.Receiver):
    def on_consume_ready(self, *args, **kwargs):
        super().on_consume_ready(*args, **kwargs)
        say({"listening": True})


with app.connection_for_read() as connection:
    monitor = Monitor(connection, handlers={"*": on_event})

    def wait_for_end():
        sys.stdin.read()
        monitor.should_stop = True

    threading.Thread(target=wait_for_end, daemon=True).start()
    monitor.capture(limit=None, timeout=None, wakeup=True)

say(
    {
        "state": {
            "workers": {
                name: {"alive": worker.alive, "active": worker.active, "sw_ident": worker.sw_ident, "freq": worker.freq}
                for name, worker in state.workers.items()
            },
            "tasks": {
                uuid: {
                    "name": task.name,
                    "state": task.state,
                    "args": task.args,
                    "result": task.result,
                    "exception": task.exception,
                    "runtime": task.runtime,
                    "retries": task.retries,
                    "worker": task.worker.hostname if task.worker else None,
                }
                for uuid, task in state.tasks.items()
            },
        }
    }
)
