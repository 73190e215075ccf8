/** The broker as `stats` describes it, in kombu's words and without secrets. */

/** kombu's name of each scheme's transport; ours where it has none. */
const TRANSPORTS: Readonly<Record<string, string>> = {
  'redis:': 'redis',
  'rediss:': 'redis',
  'sentinel:': 'sentinel',
  'redis+sentinel:': 'sentinel',
  'rediss+sentinel:': 'sentinel',
  'redis+cluster:': 'redis',
  'rediss+cluster:': 'redis',
  'amqp:': 'amqp',
  'amqps:': 'amqp',
  'file:': 'file',
  'memory:': 'memory',
};
const PORTS: Readonly<Record<string, number>> = { redis: 6_379, sentinel: 26_379, amqp: 5_672 };

/** @param brokerUrl one, or several with `;` between them */
export function brokerInfo(brokerUrl: string): object {
  const [first = '', ...others] = brokerUrl.split(';');
  // of sentinels and of a cluster's nodes the first: a list of hosts is no URL
  const plain = first.replace(/^([a-z+]+:\/\/(?:[^/?@]*@)?[^/?,]*),[^/?]*/i, '$1');
  const parsed = URL.canParse(plain) ? new URL(plain) : null;
  const transport = TRANSPORTS[parsed?.protocol ?? ''] ?? 'unknown';
  const path = decodeURIComponent(parsed?.pathname.slice(1) ?? '');
  const isServer = parsed !== null && parsed.hostname !== '';
  return {
    hostname: isServer ? parsed.hostname : null,
    userid: isServer && parsed.username !== '' ? decodeURIComponent(parsed.username) : null,
    virtual_host: isServer ? path || (transport === 'redis' ? '0' : '/') : null,
    port: isServer ? Number(parsed.port) || (PORTS[transport] ?? null) : null,
    insist: false,
    ssl: /^(?:rediss|amqps)[:+]/i.test(first),
    transport,
    connect_timeout: 5,
    transport_options: {},
    login_method: transport === 'amqp' ? 'PLAIN' : null,
    uri_prefix: null,
    heartbeat: null,
    failover_strategy: 'round-robin',
    alternates: others.map(maskUrl),
  };
}

/** A URL without its password, and without values of its query that may be one. */
export function maskUrl(url: string): string {
  return url
    .replace(/^([a-z][a-z0-9+.-]*:\/\/[^/@:]*):[^@]*@/i, '$1:********@')
    .replace(/([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*/gi, '$1********');
}
