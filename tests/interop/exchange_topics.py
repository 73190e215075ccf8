"""Two queues of a topic exchange in Python.

As a module of `celery -A exchange_topics worker -Q video-py,all-py`: the task below writes its queue and what it was told to the file
INTEROP_LEDGER. As a script with BROKER_URL RESULT_URL: reads JSON lines {"send": [{"args", "options"}]} and sends each; answers {"ids"}.
"""
import json
import os
import sys

from celery import Celery
from kombu import Exchange, Queue

BROKER = os.environ.get("INTEROP_BROKER") or sys.argv[1]
RESULTS = os.environ.get("INTEROP_RESULTS") or sys.argv[2]

media = Exchange("media", type="topic")
app = Celery("exchange-topics", broker=BROKER, backend=RESULTS)
app.conf.task_queues = (
    Queue("video-py", media, routing_key="media.video"),
    Queue("all-py", media, routing_key="media.#"),
)
app.conf.task_default_queue = "video-py"
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False


@app.task(name="media.note", ignore_result=True)
def note(text):
    with open(os.environ["INTEROP_LEDGER"], "a", encoding="utf-8") as ledger:
        ledger.write(text + "\n")


if __name__ == "__main__":
    print(json.dumps({"celery": __import__("celery").__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            sent = [note.apply_async(one["args"], declare=[media], **one.get("options", {})).id for one in request["send"]]
            print(json.dumps({"ids": sent}), flush=True)
        except Exception as error:  # the harness must see what went wrong, whatever it is
            print(json.dumps({"harness_error": repr(error)}), flush=True)
