"""A Python client of the drill far-future: sends tasks with an eta, as Celery's clients do, and prints "<id> <due>" for each that is due soon.

Usage: far_future.py BROKER_URL QUEUE far COUNT SEED           etas of 1 to 30 days from now
       far_future.py BROKER_URL QUEUE due COUNT FROM_MS STEP_MS  one each so many milliseconds, from FROM_MS (Unix time) on
"""
import random
import sys
import time
from datetime import datetime, timezone

from celery import Celery

url, queue, what, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
app = Celery("far-future", broker=url, set_as_current=False)
app.conf.update(task_default_queue=queue, task_ignore_result=True)

DAY_S = 86_400
if what == "far":
    draw = random.Random(sys.argv[5])
    start = time.time()
    dues = [start + draw.uniform(DAY_S, 30 * DAY_S) for _ in range(count)]
else:
    first, step = float(sys.argv[5]), float(sys.argv[6])
    dues = [int(first + index * step) / 1_000 for index in range(count)]

lines = []
# A connection that is closed: without it, and without publisher confirms, RabbitMQ may not have read the last messages when Python ends.
with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
    for due in dues:
        eta = datetime.fromtimestamp(due, timezone.utc)
        sent = app.send_task("drill.append", [0], eta=eta, producer=producer, ignore_result=True)
        if what == "due":
            lines.append(f"{sent.id} {round(due * 1_000)}")
print("\n".join(lines), flush=True)
