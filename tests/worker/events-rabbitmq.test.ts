/** Events of a worker on RabbitMQ; the cases are in events-cases.ts. */
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { eventsSuite } from './events-cases.js';

/** More than there are cases: one that finds none left is told so by the broker. */
const HOSTS = 12;

eventsSuite('rabbitmq', async () => {
  const server = await startRabbitmq();
  // Each test has a virtual host of its own: what one leaves behind must not be heard in the next. All at once, because each call of
  // rabbitmqctl takes about a second.
  server.ctl(
    'eval',
    `[begin
        Host = list_to_binary("events" ++ integer_to_list(Number)),
        ok = rabbit_vhost:add(Host, <<"suite">>),
        ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, Host, <<".*">>, <<".*">>, <<".*">>, <<"suite">>)
      end || Number <- lists:seq(1, ${HOSTS})].`,
  );
  let hosts = 0;
  return {
    url: () => `${server.url}/events${(hosts += 1)}`,
    close: () => server.stop(),
  };
});
