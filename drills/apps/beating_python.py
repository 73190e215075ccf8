"""Celery's schedule in drill 4: one entry of every second, whose messages nobody takes, so that each send can be counted."""
import os
import threading
import time

from celery import Celery

app = Celery("beating", broker=os.environ["CELERY_BROKER_URL"])
app.conf.beat_schedule = {
    "seconds": {"task": "drill.append", "schedule": 1.0, "args": (0,), "options": {"queue": os.environ["LOVAGE_DRILL_QUEUE"]}},
}

parent = os.getppid()


def end_with_supervisor():
    """A drill that was killed can no longer end its beats."""
    while os.getppid() == parent:
        time.sleep(2)
    os._exit(1)


threading.Thread(target=end_with_supervisor, daemon=True).start()
