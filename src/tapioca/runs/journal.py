"""How SQLite makes a transaction safe: by a write-ahead log, or where that cannot be relied on by a rollback journal."""

import re
from pathlib import Path

import psutil

NOT_LOCAL = re.compile(
    "9p|acfs|afpfs|afs|beegfs|ceph|cifs|coda|davfs|drvfs|fuse[.].*|glusterfs|gpfs|lustre|nfs4?|ocfs2|orangefs|panfs|prl_fs|"
    "smb.*|vboxsf|vmhgfs|webdav"
)
"""File systems that other machines may use too, or that a program provides: a write-ahead log needs shared memory."""


def find_file_system(folder: Path) -> str:
    """What kind of file system a folder is on, as the system calls it; empty where it does not say."""
    place = folder.resolve()
    try:
        mounts = [mount for mount in psutil.disk_partitions(all=True) if place.is_relative_to(mount.mountpoint)]
    except OSError:
        return ""
    mounts.sort(
        key=lambda mount: len(Path(mount.mountpoint).parts)
    )  # of two at one place the later one hides the other
    return mounts[-1].fstype if mounts else ""


def allows_write_ahead(file_system: str) -> bool:
    """Whether a write-ahead log is safe on a kind of file system."""
    return not NOT_LOCAL.fullmatch(file_system)
