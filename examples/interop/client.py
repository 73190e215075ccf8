"""A Celery client calls the tasks of app.ts beside it. Start a worker for them on the broker that both share:

    lovage worker --app examples/interop/app.ts --broker redis://localhost:6379/0 --queues interop
    python examples/interop/client.py redis://localhost:6379/0 redis://localhost:6379/0
"""
import sys

from celery import Celery

app = Celery("shop", broker=sys.argv[1], backend=sys.argv[2])
app.conf.task_routes = {"interop.*": {"queue": "interop"}}

print(app.send_task("interop.add", args=[2, 3]).get(timeout=20))
print(app.send_task("interop.add", kwargs={"x": 2**70, "y": 1}).get(timeout=20))
print(app.send_task("interop.add", kwargs={"x": 4, "y": 5}, countdown=0.5, expires=60, priority=7).get(timeout=20))


@app.task(name="interop.echo")
def echo(*args, **kwargs):
    """Only the name and the signature: the task itself runs in TypeScript."""


print(echo.delay("žluťoučký", [1.5, None], tenant="acme").get(timeout=20))

try:
    app.send_task("interop.fail", args=["boom"]).get(timeout=20)
except Exception as error:
    print(type(error).__name__, error)

# Output:
# 5
# 1180591620717411303425
# 9
# {'args': ['žluťoučký', [1.5, None]], 'kwargs': {'tenant': 'acme'}}
# ValueError boom
