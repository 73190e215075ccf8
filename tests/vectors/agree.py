"""Reads one request a line from standard input, answers one line each: what Python makes of our bytes.

json   text  -> the text that json.dumps writes for what json.loads read
kombu  text  -> the same with kombu's own coder, which knows the typed values
table  bytes -> an AMQP field table (base64), as JSON
"""
import base64
import json
import sys


def kombu_again(text):
    from kombu.utils.json import dumps, loads

    return dumps(loads(text))


def table(encoded):
    from amqp.serialization import loads

    values, _ = loads("F", base64.b64decode(encoded), 0)
    return json.dumps(values[0])


ANSWERS = {"json": lambda text: json.dumps(json.loads(text)), "kombu": kombu_again, "table": table}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"answer": ANSWERS[request["ask"]](request["of"])}
    except Exception as error:  # the test shows it
        answer = {"error": "%s: %s" % (type(error).__name__, error)}
    print(json.dumps(answer), flush=True)
