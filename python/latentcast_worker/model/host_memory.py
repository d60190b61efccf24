"""How much more memory this process may take on its machine."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """What the system could give without swapping, within the limit of the container; None where nothing says so."""
    known = [room for room in (_of_system(meminfo), _of_container(cgroup)) if room is not None]
    return min(known, default=None)


def _of_system(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _of_container(cgroup: Path) -> int | None:
    """By cgroup v2, whose group is the root of what a container sees. None where there is no limit."""
    try:
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
        statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text(encoding="ascii").splitlines())
        # Pages of files count as used, and are given up when they are needed.
        return limit - used + int(statistics["inactive_file"])
    except (OSError, ValueError, KeyError):
        return None
