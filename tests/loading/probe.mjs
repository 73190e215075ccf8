// Loads one app file in a plain Node process, on the main thread, in a worker thread or in a child process, and prints what
// it found as one JSON line. Plain JavaScript because it must run on every Node without a loader. Arguments: package root, mode, app file.
import { fork } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';
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
    const found = await probe(root, file);
    if (process.send) process.send(found);
    else console.log(JSON.stringify(found));
  } else if (mode === 'process') {
    const child = fork(fileURLToPath(import.meta.url), [root, 'main', file], { serialization: 'advanced' });
    child.once('message', (found) => {
      console.log(JSON.stringify(found));
      child.disconnect();
    });
  } else {
    const thread = new Worker(new URL(import.meta.url), { workerData: [root, file] });
    thread.once('message', (found) => console.log(JSON.stringify(found)));
  }
} else {
  parentPort.postMessage(await probe(...workerData));
}
