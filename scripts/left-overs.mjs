// @ts-check
/**
 * Finds and ends what a test run left running. Every run has a temporary folder of its own; a process belongs to it when
 * that folder stands in its command line, environment or working directory.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** @param {string} pid @param {string} folder */
function belongsTo(pid, folder) {
  try {
    return (
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder) ||
      readFileSync(`/proc/${pid}/environ`, 'utf8').includes(folder) ||
      readlinkSync(`/proc/${pid}/cwd`).startsWith(folder)
    );
  } catch {
    return false; // it ended while we looked, or is somebody else's
  }
}

/**
 * The processes of a run that are still there, with their command lines.
 * @param {string} folder
 * @returns {{ pid: number, command: string }[]}
 */
export function leftOvers(folder) {
  if (existsSync('/proc/self/cmdline')) {
    const pids = readdirSync('/proc').filter(
      (name) => /^\d+$/.test(name) && Number(name) !== process.pid && belongsTo(name, folder),
    );
    return pids.map((pid) => {
      let command = '';
      try {
        command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      } catch {
        // it ended just now
      }
      return { pid: Number(pid), command };
    });
  }
  const listing = spawnSync('ps', ['-axwwE', '-o', 'pid=,command='], { encoding: 'utf8' }).stdout ?? '';
  return listing
    .split('\n')
    .filter((row) => row.includes(folder))
    .map((row) => ({
      pid: Number.parseInt(row, 10),
      command: row
        .trim()
        .replace(/^\d+\s+/, '')
        .slice(0, 200),
    }))
    .filter(({ pid }) => pid > 0 && pid !== process.pid);
}

/**
 * Gives them a moment to end by themselves, then ends them. Returns what had to be ended.
 * @param {string} folder
 */
export async function endLeftOvers(folder) {
  for (let tries = 0; tries < 20 && leftOvers(folder).length > 0; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  const remaining = leftOvers(folder);
  for (const { pid } of remaining) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // gone already
    }
  }
  return remaining;
}
