/**
 * Which file systems cannot carry the database: SQLite's WAL needs memory shared between processes and locks that
 * hold, and network file systems have neither. Known by the `f_type` of statfs (Linux) and, for FUSE, its subtype.
 */
import { readFileSync, realpathSync, statfsSync } from 'node:fs';
import { BrokerError } from '../../core/errors.js';

/** `f_type` → name, from statfs(2). */
const NETWORK_TYPES: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xfe534d42, 'SMB 2'],
  [0xff534d42, 'CIFS'],
  [0x564c, 'NCP'],
  [0x5346414f, 'AFS'],
  [0x6b414653, 'AFS'],
  [0x73757245, 'Coda'],
  [0x01021997, '9p'],
  [0x00c36400, 'Ceph'],
  [0x0bd00bd3, 'Lustre'],
  [0x47504653, 'GPFS'],
  [0x013111a8, 'IBRIX'],
  [0x786f4256, 'a VirtualBox shared folder'],
  [0xbacbacbc, 'a VMware shared folder'],
]);
const FUSE_TYPE = 0x65735546;
/** FUSE in front of a local disk: locks and shared memory are this kernel's own. */
const LOCAL_FUSE = new Set(['fuseblk', 'fuse.fuse-overlayfs', 'fuse.lxcfs']);

/**
 * The name of the network file system that `fsType` and the mount's type tell of, or `null` for a local one. Pure.
 * @param mountType the third field of /proc/mounts, for FUSE; `null` when unknown
 */
export function networkFileSystem(fsType: number, mountType: string | null): string | null {
  const type = fsType >>> 0;
  const known = NETWORK_TYPES.get(type);
  if (known !== undefined) return known;
  if (type !== FUSE_TYPE) return null;
  return mountType !== null && LOCAL_FUSE.has(mountType) ? null : `FUSE (${mountType ?? 'unknown kind'})`;
}

/** The mount type of `folder` by the text of /proc/mounts: of the longest mount point that is its prefix. Pure. */
export function mountTypeOf(folder: string, mounts: string): string | null {
  let best: { readonly point: string; readonly type: string } | null = null;
  for (const line of mounts.split('\n')) {
    const [, rawPoint, type] = line.split(' ');
    if (rawPoint === undefined || type === undefined) continue;
    const point = rawPoint.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    const inside = folder === point || folder.startsWith(point.endsWith('/') ? point : `${point}/`);
    // of equal ones the last: it is mounted over the others
    if (inside && (best === null || point.length >= best.point.length)) best = { point, type };
  }
  return best?.type ?? null;
}

/** @throws BrokerError `E_FILE_SYSTEM` */
export function refuseNetworkFileSystem(folder: string): void {
  if (process.platform !== 'linux') return;
  const { type } = statfsSync(folder);
  const name = networkFileSystem(type, type >>> 0 === FUSE_TYPE ? readMountType(folder) : null);
  if (name === null) return;
  throw new BrokerError(
    'E_FILE_SYSTEM',
    `${folder} is on ${name}: an embedded queue there would be damaged sooner or later, because such file systems share neither locks nor memory ` +
      'between machines. Use a file on a local disk, or redis:// or amqp:// for several machines. If it is local in truth, add ?fileSystem=trusted',
  );
}

function readMountType(folder: string): string | null {
  try {
    return mountTypeOf(realpathSync(folder), readFileSync('/proc/mounts', 'utf8'));
  } catch {
    return null;
  }
}
