// Loads one app file in a plain Node process, on the main thread or in a worker thread, and prints what it found as one
// JSON line. Plain JavaScript because it must run on every Node without a loader. Arguments: package root, mode, app file.
import { pathToFileURL } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

async function probe(root, file) {
  const inDist = (path) => import(pathToFileURL(`${root}/dist/${path}`).href);
  try {
    const { loadAppFile } = await inDist('worker/executor/load-app.js');
    const app = await loadAppFile(file);
    const { App } = await inDist('app/app.js');
    const { codeOf } = await inDist('core/errors.js');
    const answer = await app.registry.get('check')?.execute([2], {}, {});
    return { name: app.config.name, answer, sameCopy: app instanceof App && typeof codeOf === 'function' };
  } catch (error) {
    return { code: error.code ?? null, message: error.message, name: error.name };
  }
}

if (isMainThread) {
  const [root, mode, file] = process.argv.slice(2);
  if (mode === 'main') {
    console.log(JSON.stringify(await probe(root, file)));
  } else {
    const thread = new Worker(new URL(import.meta.url), { workerData: [root, file] });
    thread.once('message', (found) => console.log(JSON.stringify(found)));
  }
} else {
  parentPort.postMessage(await probe(...workerData));
}
