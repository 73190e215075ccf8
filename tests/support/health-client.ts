/** Asks a worker's health server, as a probe does: a new connection for each question. */
import { request } from 'node:http';

export interface HealthReply {
  readonly status: number;
  readonly text: string;
  /** The body, where it is JSON. */
  readonly json: Record<string, unknown> & { readonly reasons?: readonly { readonly code: string; readonly message: string }[] };
  readonly tookMs: number;
}

/** @throws Error when nobody answers within `timeoutMs` */
export function askHealth(port: number, path: string, timeoutMs = 5_000): Promise<HealthReply> {
  const startedMs = performance.now();
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, agent: false, timeout: timeoutMs }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => {
        const isJson = response.headers['content-type'] === 'application/json';
        resolve({
          status: response.statusCode ?? 0,
          text,
          json: isJson ? JSON.parse(text) : {},
          tookMs: performance.now() - startedMs,
        });
      });
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer to ${path} within ${timeoutMs} ms`)));
    asked.on('error', reject);
    asked.end();
  });
}

/** Codes of the reasons that `/readyz` gives; empty = ready. */
export async function notReady(port: number): Promise<readonly string[]> {
  const { status, json } = await askHealth(port, '/readyz');
  const codes = (json.reasons ?? []).map(({ code }) => code);
  if ((status === 200) !== (codes.length === 0)) throw new Error(`/readyz: status ${status} beside ${JSON.stringify(json)}`);
  return codes;
}
