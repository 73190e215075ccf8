/** The inside of the thread that copies a live database: one statement that may run for minutes. Started by `backup.ts`. */
import { workerData } from 'node:worker_threads';
import { loadDriver } from './driver.js';

const { path, destination } = workerData as { readonly path: string; readonly destination: string };

const connection = (await loadDriver()).open(path);
try {
  connection.exec('PRAGMA busy_timeout = 10000');
  connection.exec('PRAGMA wal_autocheckpoint = 0');
  // reads one snapshot: writers go on, and only the WAL cannot start over until it is done
  connection.prepare('VACUUM INTO ?').run([destination]);
} finally {
  connection.close();
}
