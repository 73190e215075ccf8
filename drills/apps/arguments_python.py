"""Python's side of drill 6. As `celery -A arguments_python worker` it tells what arrived: a line of JSON a call, with the `repr` of
the value. As a program it sends to TypeScript what JavaScript has no number, or no type, for: arguments_python.py send QUEUE LABEL

Broker and result store come from INTEROP_BROKER and INTEROP_RESULTS, the file is that of LOVAGE_DRILL_LEDGER with `.arrived` behind it.
"""
import json
import os
import sys
from datetime import date, datetime, time, timezone
from decimal import Decimal
from uuid import UUID

from celery import Celery

app = Celery("arguments", broker=os.environ["INTEROP_BROKER"], backend=os.environ["INTEROP_RESULTS"])
app.conf.broker_connection_retry_on_startup = True

notes = os.open(os.environ["LOVAGE_DRILL_LEDGER"] + ".arrived", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@app.task(name="arguments.take")
def take(label, value):
    os.write(notes, (json.dumps({"label": label, "text": repr(value)}) + "\n").encode())


NUMBERS = [2**53 + 1, -(2**200), 10**400, 0, 1.5e-07]
# What Celery 5.2 sends as text.
TYPED = [
    datetime(2026, 2, 28, 23, 59, 59, 789000, tzinfo=timezone.utc),
    b"\x00\xffA",
    Decimal("1.10"),
    UUID("0b3c8a52-4f1e-4f35-9a56-1c8a0e8f2d11"),
    date(2024, 2, 29),
    time(13, 5, 6, 789),
]

if __name__ == "__main__":
    _, _, queue, label = sys.argv
    values = NUMBERS + (TYPED if label != "5.2" else [])
    for index, value in enumerate(values):
        app.send_task("arguments.take", [f"from {label}: {index}", value], queue=queue, ignore_result=True)
