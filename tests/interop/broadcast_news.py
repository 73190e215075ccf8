"""Celery's Broadcast queue `news`: each worker that takes it runs each task of it.

As a module of `celery -A broadcast_news worker -Q news,celery`: the task below writes what it was told to the file INTEROP_LEDGER.
As a script with BROKER_URL RESULT_URL: reads JSON lines {"send": [{"task", "args", "options"}]} and sends each; answers {"ids"}.
"""
import json
import os
import sys

from celery import Celery
from kombu import Queue
from kombu.common import Broadcast

BROKER = os.environ.get("INTEROP_BROKER") or sys.argv[1]
RESULTS = os.environ.get("INTEROP_RESULTS") or sys.argv[2]

app = Celery("broadcast-news", broker=BROKER, backend=RESULTS)
app.conf.task_queues = (Broadcast("news"), Queue("celery"))
app.conf.task_routes = {"news.*": {"queue": "news"}}
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False


@app.task(name="news.note", ignore_result=True)
def note(text):
    with open(os.environ["INTEROP_LEDGER"], "a", encoding="utf-8") as ledger:
        ledger.write(text + "\n")


if __name__ == "__main__":
    # on Redis kombu takes an exchange that its connection has not declared for a direct one
    declare = [app.amqp.queues["news"].exchange]
    print(json.dumps({"celery": __import__("celery").__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            sent = [note.apply_async(one["args"], declare=declare, **one.get("options", {})).id for one in request["send"]]
            print(json.dumps({"ids": sent}), flush=True)
        except Exception as error:  # the harness must see what went wrong, whatever it is
            print(json.dumps({"harness_error": repr(error)}), flush=True)
