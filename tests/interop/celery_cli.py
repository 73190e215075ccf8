"""Celery's own command line in one process: reads JSON lines of arguments, answers each with exit code and output.

Usage: python celery_cli.py BROKER_URL. The two commands are defined as an app of ours has them, because `celery
inspect` sends nothing that it does not know itself.
"""
import json
import os
import sys

os.environ["CELERY_BROKER_URL"] = sys.argv[1]

import celery
from celery.worker.control import control_command, inspect_command
from click.testing import CliRunner


@inspect_command(args=[("value", int)], signature="<value>")
def interop_double(state, value):
    """Double a number."""


@control_command()
def interop_fail(state):
    """Fail."""


# after them: 5.2 lists the commands when this is imported
from celery.bin.celery import celery as main  # noqa: E402

print(json.dumps({"celery": celery.__version__}), flush=True)
for line in sys.stdin:
    result = CliRunner().invoke(main, ["-b", sys.argv[1], *json.loads(line)])
    failed = result.exception if not isinstance(result.exception, (SystemExit, type(None))) else None
    code = getattr(failed, "exit_code", 1) if failed else result.exit_code
    print(json.dumps({"code": code, "output": result.output, "failed": repr(failed) if failed else None}), flush=True)
