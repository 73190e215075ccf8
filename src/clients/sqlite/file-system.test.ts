import { expect, test } from 'vitest';
import { mountTypeOf, networkFileSystem } from './file-system.js';

test.each([
  ['ext4', 0xef53, null, null],
  ['tmpfs', 0x01021994, null, null],
  ['overlay', 0x794c7630, null, null],
  ['btrfs', 0x9123683e, null, null],
  ['NFS', 0x6969, null, 'NFS'],
  ['SMB 2', 0xfe534d42, null, 'SMB 2'],
  ['SMB 2 as a negative number, as some systems give it', 0xfe534d42 | 0, null, 'SMB 2'],
  ['CIFS', 0xff534d42, null, 'CIFS'],
  ['9p', 0x01021997, null, '9p'],
  ['FUSE, sshfs', 0x65735546, 'fuse.sshfs', 'FUSE (fuse.sshfs)'],
  ['FUSE of unknown kind', 0x65735546, null, 'FUSE (unknown kind)'],
  ['FUSE on a local block device', 0x65735546, 'fuseblk', null],
])('%s is told from its type', (_, type, mountType, expected) => {
  expect(networkFileSystem(type, mountType)).toBe(expected);
});

const MOUNTS = `/dev/vda / ext4 rw 0 0
tmpfs /srv tmpfs rw 0 0
user@host:/ /srv/my\\040share fuse.sshfs rw 0 0
/dev/sdb1 /srv/my\\040share/disk ext4 rw 0 0
`;

test.each([
  ['/home/me', 'ext4'],
  ['/srv', 'tmpfs'],
  ['/srv/my share/x', 'fuse.sshfs'],
  ['/srv/my share/disk/x', 'ext4'],
  ['/srv/my sharer', 'tmpfs'],
])('the mount of %s is the longest that holds it: %s', (folder, type) => {
  expect(mountTypeOf(folder, MOUNTS)).toBe(type);
});

test('no mounts, no type', () => {
  expect(mountTypeOf('/x', '')).toBeNull();
});
