/** An authority of our own and certificates that it signed, made by openssl in a temporary folder: for tests of TLS. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface TlsFiles {
  /** The authority's certificate. */
  readonly ca: string;
  /** Signs a certificate that is valid for these names, written as openssl's subjectAltName: `IP:127.0.0.1,DNS:localhost`. */
  sign(name: string, alternatives: string, options?: { readonly days?: number }): Certificate;
  remove(): void;
}

/** Why tests of TLS cannot run here, or `null`. */
export function opensslMissing(): string | null {
  return spawnSync('openssl', ['version'], { stdio: 'ignore' }).error ? 'openssl is not installed' : null;
}

function openssl(...args: readonly string[]): void {
  const done = spawnSync('openssl', args, { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`openssl ${args[0]} failed: ${done.stderr}`);
}

/** Keys on a curve: RSA keys take a busy machine seconds. */
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

export function makeTlsFiles(): TlsFiles {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-tls-'));
  const [ca, caKey] = [join(folder, 'ca.crt'), join(folder, 'ca.key')];
  openssl('req', '-x509', ...NEW_KEY, '-keyout', caKey, '-out', ca, '-days', '2', '-subj', '/CN=authority of a test');
  return {
    ca,
    sign(name, alternatives, { days = 2 } = {}) {
      const [cert, key, request] = ['crt', 'key', 'csr'].map((end) => join(folder, `${name}.${end}`)) as [string, string, string];
      const names = ['-addext', `subjectAltName=${alternatives}`];
      openssl('req', '-new', ...NEW_KEY, '-keyout', key, '-out', request, '-subj', `/CN=${name}`, ...names);
      const by = ['-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-copy_extensions', 'copy'];
      openssl('x509', '-req', '-in', request, '-out', cert, ...by, '-days', String(days));
      return { cert, key };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
