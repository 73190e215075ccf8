"""A real Celery client for what our client half of workflows makes: signatures as dicts, saved groups, stamps. JSON lines as client.py.

Usage: canvas_client.py BROKER_URL RESULT_URL
Request: {"run": dict, "timeout"} -> {"id", "result"}            (a signature that we wrote, sent from here)
         {"dict": "chain" | "group" | "chord" | "stamped"} -> {"dict"}  (one that Celery writes)
         {"save": [signature dict, ...]} -> {"id", "members"}    (a group that is sent and saved)
         {"restore": id, "timeout"} -> {"id", "members", "result"}
"""
import json
import sys

import celery
from celery import Celery, chain, chord, group
from celery.result import AsyncResult, GroupResult

app = Celery("interop-canvas", broker=sys.argv[1], backend=sys.argv[2])
app.conf.task_default_queue = "interop"
app.conf.broker_connection_retry_on_startup = True


def add(*args):
    return app.signature("interop.add", args=args, options={"queue": "interop"})


def made(kind):
    if kind == "chain":
        return chain(add(1, 2), app.signature("py.add", args=(10,), options={"queue": "python"}), add(100), app=app)
    if kind == "group":
        return group([add(1, 1), add(2, 2)], app=app)
    if kind == "chord":
        return chord([add(1, 1), add(2, 2)], app.signature("py.sum", options={"queue": "python"}), app=app)
    if kind == "stamped":
        signature = chain(add(1, 2), add(3), app=app)
        signature.stamp(tenant="acme", tag=["x", "y"])
        return signature
    raise ValueError(kind)


def answer(request):
    timeout = request.get("timeout", 20)
    if "run" in request:
        result = app.signature(request["run"]).apply_async()
        return {"id": result.id, "result": result.get(timeout=timeout)}
    if "dict" in request:
        return {"dict": json.loads(json.dumps(made(request["dict"])))}
    if "save" in request:
        result = group([app.signature(each) for each in request["save"]], app=app).apply_async()
        result.save()
        return {"id": result.id, "members": [member.id for member in result]}
    if "restore" in request:
        result = GroupResult.restore(request["restore"], app=app)
        if isinstance(result, AsyncResult):
            parents, before = [], result.parent
            while before is not None:
                parents.append(before.id)
                before = before.parent
            return {"id": result.id, "parents": parents, "result": result.get(timeout=timeout)}
        return {"id": result.id, "members": [member.id for member in result], "result": result.get(timeout=timeout)}
    raise ValueError("what?")


print(json.dumps({"celery": celery.__version__}), flush=True)
for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:  # the harness must see what went wrong, whatever it is
        reply = {"harness_error": repr(error)}
    print(json.dumps(reply), flush=True)
