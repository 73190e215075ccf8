/**
 * TLS of connections: options from a URL under Celery's names, and what a refused handshake means in words.
 * Does not own: the connection itself. Next stop: `redis-url.ts`, which asks for the options.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';

/** Options of a URL that only mean something with TLS. */
export const TLS_KEYS = ['ssl_cert_reqs', 'ssl_ca_certs', 'ssl_certfile', 'ssl_keyfile', 'servername'] as const;

/**
 * Celery's names for TLS options, so that one URL serves both languages, and `servername`: the name that the certificate
 * must have, where the address in the URL is another (a tunnel, an IP address).
 * @param host of the URL; `undefined` where each server is checked under the name by which others tell it
 * @param refuse throws what the caller throws for a bad URL
 */
export function tlsOptions(
  query: URLSearchParams,
  host: string | undefined,
  refuse: (why: string, cause?: unknown) => never,
): ConnectionOptions {
  const file = (key: (typeof TLS_KEYS)[number]): Buffer | undefined => {
    const path = query.get(key);
    if (path === null) return undefined;
    try {
      return readFileSync(path);
    } catch (cause) {
      return refuse(`cannot read ${key} ${JSON.stringify(path)}`, cause);
    }
  };
  const check = (query.get('ssl_cert_reqs') ?? 'required').toLowerCase().replace(/^cert_/, '');
  if (!['required', 'optional', 'none'].includes(check))
    refuse(`ssl_cert_reqs is ${JSON.stringify(check)}: use required, optional or none`);
  if (query.has('ssl_certfile') !== query.has('ssl_keyfile'))
    refuse('ssl_certfile and ssl_keyfile belong together: give both or neither');
  // An address is no name that TLS may ask for; the certificate is checked against it all the same.
  const name = query.get('servername') ?? (host !== undefined && isIP(host) === 0 ? host : null);
  return {
    ...(name === null ? {} : { servername: name }),
    rejectUnauthorized: check !== 'none',
    ca: file('ssl_ca_certs'),
    cert: file('ssl_certfile'),
    key: file('ssl_keyfile'),
  };
}

/** Node's codes for a certificate of the server that is not believed. */
const NOT_BELIEVED =
  /^(?:CERT_|UNABLE_TO_(?:GET_ISSUER|VERIFY)|SELF_SIGNED_CERT|DEPTH_ZERO_SELF_SIGNED|HOSTNAME_MISMATCH|INVALID_(?:CA|PURPOSE)|PATH_LENGTH_EXCEEDED)/;
/** The server's answers to a certificate of ours that it does not believe, or to none. */
const OURS_REFUSED = /_ALERT_(?:CERTIFICATE_|BAD_CERTIFICATE|UNKNOWN_CA|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED)/;
/** What answered does not speak TLS, or no version of it that we do. */
const NO_TLS = /_(?:WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|ALERT_PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|UNKNOWN_PROTOCOL)$/;

/** Why a TLS handshake failed and what to do about it; `null` if it failed for another reason. */
export function tlsRefusal(error: unknown): string | null {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  if (typeof code !== 'string') return null;
  const text = error instanceof Error ? error.message : String(error);
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `its certificate is for another name (${text}): use a name in the certificate, or add servername=NAME to the URL`;
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID')
    return `its certificate is not valid now (${text}): renew it, and look at the clocks of both machines`;
  if (NOT_BELIEVED.test(code))
    return `its certificate is not trusted (${text}): add ssl_ca_certs=FILE, the certificate of the authority that signed it, to the URL`;
  if (OURS_REFUSED.test(code))
    return `it asks for a certificate of ours and did not accept what it got (${text}): add ssl_certfile=FILE and ssl_keyfile=FILE, signed by an authority that it trusts, to the URL`;
  if (NO_TLS.test(code))
    return `it does not speak TLS on that port (${text}): use its TLS port, or the scheme without the second s`;
  return null;
}

/** Why a server cannot be spoken to over TLS, found out by trying; `null` if it can. For libraries that keep it to themselves. */
export function tlsError(host: string, port: number, options: ConnectionOptions, timeoutMs: number): Promise<Error | null> {
  return new Promise((resolve) => {
    const socket = connect({ ...options, host, port, timeout: timeoutMs });
    const end = (error: Error | null): void => {
      socket.destroy();
      resolve(error);
    };
    socket.once('secureConnect', () => end(null));
    socket.once('timeout', () => end(Object.assign(new Error('connect ETIMEDOUT'), { code: 'ETIMEDOUT' })));
    // stays: a socket that is destroyed may have more to say
    socket.on('error', end);
  });
}
