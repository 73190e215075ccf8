/** Processor time that processes have used. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** CPU time that these processes have used so far, in milliseconds. */
export function cpuMs(pids: readonly number[]): number {
  let total = 0;
  for (const pid of pids) {
    const threads = `/proc/${pid}/task`;
    if (existsSync(`${threads}/${pid}/schedstat`)) {
      // Nanoseconds; the process's own figure is rounded to hundredths of a second, too coarse for so little.
      for (const thread of readdirSync(threads))
        total += Number(readFileSync(`${threads}/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
    } else {
      const [minutes = '0', seconds = '0'] = execFileSync('ps', ['-o', 'time=', '-p', String(pid)], { encoding: 'utf8' })
        .trim()
        .split(':');
      total += (Number(minutes) * 60 + Number(seconds)) * 1_000;
    }
  }
  return total;
}
