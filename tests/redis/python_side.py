"""Answers JSON lines about a Redis broker as kombu sees it: restore, get, put."""
import json
import sys

from kombu import Connection

url, vt, prefix = sys.argv[1], float(sys.argv[2]), sys.argv[3]
connection = Connection(url, transport_options={'visibility_timeout': vt, 'global_keyprefix': prefix})
channel = connection.default_channel

for line in sys.stdin:
    request = json.loads(line)
    if 'restore' in request:
        channel.qos._vrestore_count = 0
        channel.qos.restore_visible(num=100)
        answer = True
    elif 'get' in request:
        channel.queue_declare(request['get']) if request.get('declare') else None
        found = None
        for step in channel.priority_steps:
            raw = channel.client.rpop(channel._q_for_pri(request['get'], step))
            if raw:
                found = channel.message_to_python(json.loads(raw))
                break
        answer = found and {'id': found.headers['id'], 'redelivered': found.headers.get('redelivered'), 'body': found.body if isinstance(found.body, str) else found.body.decode()}
    elif 'put' in request:
        with connection.Producer() as producer:
            producer.publish([[], {}, {}], routing_key=request['put'], exchange='', serializer='json', headers={'id': request['id'], 'task': 't'}, **request.get('options', {}))
        answer = True
    print(json.dumps(answer), flush=True)
