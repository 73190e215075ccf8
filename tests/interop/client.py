"""A real Celery client, driven by JSON lines on standard input: one request a line, one answer a line.

Usage: client.py BROKER_URL RESULT_URL
Request: {"task", "args", "kwargs", "options", "timeout"} -> {"id", "state", "result" | "error", "traceback"}
         {"send": [...same...]} -> {"ids": [...]}          (not awaited)
         {"state": id} -> {"state", "info"}
         {"extended": id} -> what `result_extended` adds
         {"ping": seconds} -> {"nodes": [...]}             (who answers a ping within that time)
         {"watch": request} -> {"states": [...], "result"}  (polls the states that a client sees)
         {"group_of": [id, ...]} -> {"states", "result"}   (a group that somebody else sent, by the ids of its members)
         {"canvas": part, "timeout"} -> {"id", "steps", "result" | "error"}, of a group at its end {"members"} too
         of a chord {"header"} too: ids of its parts
Part:    {"chain": [part, ...]}, {"group": [part, ...]}, {"chord": [part, ...], "body": part},
         {"map" | "starmap" | "chunks": part, "it": [...], "n", "options"} or {"task", "args", "kwargs", "options", "immutable"},
         each with "link" and "link_error": [part, ...]
"""
import json
import os
import sys
import time

import celery
from celery import Celery, chain, chord, group
from celery.canvas import chunks, xmap, xstarmap
from celery.exceptions import TimeoutError as CeleryTimeout
from celery.result import GroupResult, ResultSet

app = Celery("interop-client", broker=sys.argv[1], backend=sys.argv[2])
app.conf.task_default_queue = "interop"
app.conf.broker_connection_retry_on_startup = True
if "INTEROP_BROKER_SSL" in os.environ:
    app.conf.broker_use_ssl = json.loads(os.environ["INTEROP_BROKER_SSL"])
if "INTEROP_PREFIX" in os.environ:
    app.conf.broker_transport_options = app.conf.result_backend_transport_options = {"global_keyprefix": os.environ["INTEROP_PREFIX"]}


def plain(value):
    try:
        json.dumps(value)
        return value
    except TypeError:
        return repr(value)


def send(request):
    return app.send_task(request["task"], request.get("args"), request.get("kwargs"), **request.get("options", {}))


def canvas(part):
    if "chain" in part:
        made = chain(*[canvas(each) for each in part["chain"]], app=app)
    elif "group" in part:
        made = group([canvas(each) for each in part["group"]], app=app)
    elif "chord" in part:
        made = chord([canvas(each) for each in part["chord"]], canvas(part["body"]), app=app)
    elif "map" in part:
        made = xmap(canvas(part["map"]), part["it"], app=app, **part.get("options", {}))
    elif "starmap" in part:
        made = xstarmap(canvas(part["starmap"]), part["it"], app=app, **part.get("options", {}))
    elif "chunks" in part:
        made = chunks(canvas(part["chunks"]), part["it"], part["n"], app=app).group()
        for task in made.tasks:
            task.set(**part.get("options", {}))
    else:
        made = app.signature(
            part["task"],
            args=part.get("args", []),
            kwargs=part.get("kwargs", {}),
            options=part.get("options", {}),
            immutable=part.get("immutable", False),
        )
    for callback in part.get("link", []):
        made.link(canvas(callback))
    for errback in part.get("link_error", []):
        made.link_error(canvas(errback))
    return made


def steps_of(result):
    """Ids of a chain's tasks, the first first."""
    ids = []
    while result is not None:
        ids.insert(0, result.id)
        result = result.parent
    return ids


def answer(request):
    if "state" in request:
        result = app.AsyncResult(request["state"])
        return {"state": result.state, "info": plain(result.info)}
    if "extended" in request:
        result = app.AsyncResult(request["extended"])
        return {field: plain(getattr(result, field)) for field in ("name", "args", "kwargs", "worker", "queue", "retries")}
    if "group_of" in request:
        results = GroupResult("a group of ours", [app.AsyncResult(each) for each in request["group_of"]], app=app)
        return {"result": results.get(timeout=20), "states": [each.state for each in results]}
    if "ping" in request:
        return {"nodes": sorted(node for answer in app.control.ping(timeout=request["ping"]) for node in answer)}
    if "send" in request:
        return {"ids": [send(one).id for one in request["send"]]}
    if "watch" in request:
        result = send(request["watch"])
        seen, end = [], time.time() + request["watch"].get("timeout", 20)
        if sys.argv[2].startswith("rpc"):  # its states come as messages to the one who waits; they cannot be polled
            result.get(timeout=15, propagate=False, on_message=lambda body: seen.append([body["status"], plain(body["result"])]))
            return {"id": result.id, "states": seen}
        while time.time() < end:
            state, info = result.state, plain(result.info)
            if not seen or seen[-1] != [state, info]:
                seen.append([state, info])
            if state in ("SUCCESS", "FAILURE", "REVOKED"):
                break
            time.sleep(0.02)
        return {"id": result.id, "states": seen}
    result = canvas(request["canvas"]).apply_async() if "canvas" in request else send(request)
    reply = {"id": result.id}
    if "canvas" in request:
        reply["steps"] = steps_of(result)
        if isinstance(result.parent, ResultSet):
            reply["header"] = [member.id for member in result.parent]
    if isinstance(result, ResultSet):
        return {**reply, "members": [member.id for member in result], "result": result.get(timeout=request.get("timeout", 20))}
    try:
        reply["result"] = plain(result.get(timeout=request.get("timeout", 20)))
        reply["type"] = type(reply["result"]).__name__
    except CeleryTimeout:
        reply["timeout"] = True
    except Exception as error:
        reply["error"] = {"type": type(error).__name__, "text": str(error), "args": plain(list(error.args))}
    if not sys.argv[2].startswith("rpc") or "timeout" not in reply:
        reply["state"] = result.state
        reply["traceback"] = result.traceback
    return reply


print(json.dumps({"celery": celery.__version__}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    try:
        reply = answer(request)
    except Exception as error:  # the harness must see what went wrong, whatever it is
        reply = {"harness_error": repr(error)}
    print(json.dumps(reply), flush=True)
