"""Celery as its native delayed delivery wants it (5.5 and later): quorum queues and topic exchanges.

As a module of `celery -A native_delays worker`: the tasks below, with INTEROP_BROKER and INTEROP_RESULTS in the environment.
As a script with BROKER_URL RESULT_URL: reads JSON lines {"task", "args", "options"} and sends each; answers {"id"}.
"""
import json
import os
import sys
import time

from celery import Celery

BROKER = os.environ.get("INTEROP_BROKER") or sys.argv[1]
RESULTS = os.environ.get("INTEROP_RESULTS") or sys.argv[2]

app = Celery("native-delays", broker=BROKER, backend=RESULTS)
app.conf.task_default_queue = os.environ.get("INTEROP_QUEUE", "shared")
app.conf.task_default_queue_type = "quorum"
app.conf.task_default_exchange_type = "topic"
app.conf.worker_detect_quorum_queues = True
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False


@app.task(name="native.when", bind=True)
def when(self):
    return {"at": time.time(), "eta": self.request.eta, "exchange": self.request.delivery_info["exchange"]}


@app.task(name="native.flaky", bind=True, max_retries=3)
def flaky(self, times):
    if self.request.retries < times:
        raise self.retry(countdown=1, exc=RuntimeError("not yet"))
    return self.request.retries + 1


if __name__ == "__main__":
    print(json.dumps({"celery": __import__("celery").__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "send" in request:
                sent = [app.send_task(one["task"], one.get("args"), **one.get("options", {})).id for one in request["send"]]
                print(json.dumps({"ids": sent}), flush=True)
        except Exception as error:  # the harness must see what went wrong, whatever it is
            print(json.dumps({"harness_error": repr(error)}), flush=True)
