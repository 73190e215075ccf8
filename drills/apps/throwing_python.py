"""Python's side of drill 2. As `celery -A throwing_python worker` it raises what is hard to store; as a program it reads
what TypeScript stored: task ids as JSON on standard input, what a Celery client sees of each as JSON on standard output.

Both take broker and result store from INTEROP_BROKER and INTEROP_RESULTS.
"""
import json
import os
import sys

from celery import Celery

app = Celery("throwing", broker=os.environ["INTEROP_BROKER"], backend=os.environ["INTEROP_RESULTS"])
app.conf.task_default_queue = "python"
app.conf.broker_connection_retry_on_startup = True


class NeedsArguments(Exception):
    def __init__(self, order, total):
        super().__init__(f"order {order} of {total}")
        self.order = order


class Unpicklable(Exception):
    def __init__(self, message):
        super().__init__(message)
        self.callback = lambda: None


def chained():
    error = ValueError("the first of 300")
    for depth in range(300):
        later = ValueError(f"because {depth}")
        later.__cause__ = error
        error = later
    return error


RAISED = {
    "requiredArguments": lambda: NeedsArguments("A-17", 12.5),
    "unpicklable": lambda: Unpicklable("it holds a function"),
    "objectArgument": lambda: ValueError(object()),
    "bytesArgument": lambda: ValueError(b"\xff\x00"),
    "hugeMessage": lambda: ValueError("x" * (5 * 1024 * 1024)),
    "causes": chained,
    "noArguments": lambda: KeyError(),
}


@app.task(name="throwing.python_fail")
def fail(kind):
    raise RAISED[kind]()


@app.task(name="throwing.python_again", bind=True, max_retries=2)
def again(self, kind):
    if self.request.retries < 2:
        raise self.retry(countdown=0.05, exc=RAISED[kind]())
    return self.request.retries + 1


def seen(task_id):
    result = app.AsyncResult(task_id)
    try:
        info = result.info
        return {
            "state": result.state,
            "type": type(info).__name__,
            "is_exception": isinstance(info, BaseException),
            "text": str(info)[:200],
            "traceback": (result.traceback or "")[:4000],
        }
    except Exception as error:  # what the drill is about: a client that cannot read what was stored
        return {"unreadable": repr(error)[:500]}


if __name__ == "__main__":
    print(json.dumps({task_id: seen(task_id) for task_id in json.load(sys.stdin)}))
