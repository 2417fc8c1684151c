"""A file system with one file, read-only and never cached: stop the process and the disk stalls.

Run by the system's Python, where Debian's ``python3-pyfuse3`` is:
``python3 slow_disk.py FILE MOUNT_POINT DELAY_MS`` prints "mounted" and serves FILE as
``MOUNT_POINT/clip``, with so long a delay before every read.
"""

import errno
import os
import stat
import sys

import pyfuse3
import trio

FILE_INODE = pyfuse3.ROOT_INODE + 1
NAME = b"clip"


class OneFile(pyfuse3.Operations):
    """The least that a reader needs."""

    def __init__(self, path: str, delay_s: float) -> None:
        super().__init__()
        self._content = os.open(path, os.O_RDONLY)
        self._delay_s = delay_s

    async def getattr(self, inode, ctx=None):
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.st_mode = stat.S_IFREG | 0o444
        if inode == pyfuse3.ROOT_INODE:
            entry.st_mode = stat.S_IFDIR | 0o755
        entry.st_size = os.fstat(self._content).st_size
        return entry

    async def lookup(self, parent_inode, name, ctx=None):
        if name != NAME:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(FILE_INODE)

    async def open(self, inode, flags, ctx):
        return pyfuse3.FileInfo(fh=inode, direct_io=True)

    async def read(self, fh, off, size):
        await trio.sleep(self._delay_s)
        return os.pread(self._content, size, off)


def main() -> None:
    path, mount_point, delay_ms = sys.argv[1:]
    pyfuse3.init(OneFile(path, float(delay_ms) / 1e3), mount_point, {"fsname=slow_disk", "ro"})
    print("mounted", flush=True)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main()
