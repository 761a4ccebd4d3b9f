"""Runs one Python program where it can do no harm; a script of the standard library alone, started by `sandbox`.

It reads what to run as JSON from its standard input: files, which of them with which arguments, and the descriptors
that the program gets as 3, 4 and so on. It ends with exit code 0 if the program did, 1 if it ended otherwise, 2 if no
sandbox could be made, with the reason on its standard error, 3 if a limit of CPU time ended it. A program can end with
whichever code it likes, so what it was worth is told by others.

The program gets namespaces of its own for network (where no interface is up), processes, mounts, IPC and host name; a
root that holds Python and the system's libraries, read-only, and one small writable folder in memory; no capability,
no way to gain one (a process below a chroot may not make a user namespace either), and a user that owns nothing;
limits of memory, CPU time, processes, file sizes and open files; an environment that holds a fixed hash seed and
nothing else. When its first process ends, or this one does, the kernel ends all of its processes.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any, NoReturn

_NEW_USER = 0x10000000
_SEPARATE = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
"""unshare(2): mounts, host name, IPC, processes, network."""

_NO_SETUID, _NO_DEVICES, _BIND, _RECURSIVE, _PRIVATE = 2, 4, 0x1000, 0x4000, 0x40000
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_READ_ONLY = 1 | _NO_SETUID | _NO_DEVICES
"""mount_setattr(2), of Linux 5.12."""

_PDEATHSIG, _CAPBSET_DROP, _NO_NEW_PRIVS = 1, 24, 38
_SIGKILL, _SIGXCPU = 9, 24
_CAPABILITIES_V3 = 0x20080522

_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
_USERS = range(61184, 65519)
"""Ids of no account (systemd's dynamic users), for a sandbox that root makes: the limit of processes is by user."""

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    asked = json.load(sys.stdin)
    problem, problems = os.pipe()
    try:
        user = _USERS[os.getpid() % len(_USERS)] if _separate() else 0
        first = os.fork()
    except OSError as error:
        return _impossible(_said(error))
    if first == 0:
        _become(asked, user, problems)
    for descriptor in (*asked["descriptors"], problems):
        os.close(descriptor)
    if reason := os.read(problem, 4096):
        os.waitpid(first, 0)
        return _impossible(reason.decode(errors="replace"))
    _, status = os.waitpid(first, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (_SIGXCPU, _SIGKILL):
        return 3
    return int(status != 0)


def _impossible(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 2


def _said(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def _separate() -> bool:
    """Namespaces of our own, in a user namespace if this user may not have them otherwise. Whether it could."""
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(_SEPARATE) == 0:
        return True
    _checked("user and other namespaces", _libc.unshare(_NEW_USER | _SEPARATE))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    return False


def _become(asked: dict[str, Any], user: int, problems: int) -> NoReturn:
    """Turn this process, the first of its namespace, into the program, as `user` if that is not root."""
    try:
        os.setsid()
        root = Path(asked["root"])
        _lay_out(root, asked["folders"], asked["scratch_bytes"])
        for name, text in asked["files"].items():
            (root / "scratch" / name).write_text(text, encoding="utf-8")
        if user:
            os.chown(root / "scratch", user, user)
        with contextlib.suppress(OSError):  # of our own IPC namespace: segments would be memory that no limit counts
            Path("/proc/sys/kernel/shmmni").write_text("0")
        os.chroot(root)
        os.chdir("/scratch")
        for name, value in asked["limits"].items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
        _give_up_rights(user)
        null = os.open("/dev/null", os.O_RDWR)
        problems = _only([null, null, null, *asked["descriptors"]], problems)
        _checked("the signal of its parent's death", _libc.prctl(_PDEATHSIG, _SIGKILL, 0, 0, 0))
        python = asked["python"]
        options = ["-s", "-S", "-B", "-P", "-X", "utf8"]
        run = ["/scratch/" + asked["run"], *asked["arguments"]]
        os.execve(python, [python, *options, *run], {"PYTHONHASHSEED": "0"})  # noqa: S606
    except OSError as error:
        os.write(problems, _said(error).encode())
    finally:
        os._exit(2)


def _only(given: list[int], problems: int) -> int:
    """Leave open what is `given`, as 0, 1 and so on, and `problems` until the program starts; its new number."""
    above = 2 * (len(given) + 1)
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, above) for descriptor in (*given, problems)]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, number, inheritable=descriptor != high[-1])
    os.closerange(len(high), 4096)
    return len(given)


def _lay_out(root: Path, folders: list[str], scratch_bytes: int) -> None:
    """A root in memory: Python and the system's libraries read-only, /dev/null, and /scratch."""
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    _in_memory(root, 1 << 20)
    done: list[Path] = []
    for place in map(Path, (*_SYSTEM, *folders)):
        inside = root / place.relative_to("/")
        if not place.exists() or any(place.is_relative_to(other) for other in done):
            continue
        inside.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink():
            inside.symlink_to(os.readlink(place))
            continue
        if place.is_dir():
            inside.mkdir()
        else:
            inside.touch()
        _mount(place, inside, None, _BIND | _RECURSIVE)
        _read_only(inside, _AT_RECURSIVE)
        done.append(place)
    (root / "dev").mkdir()
    (root / "dev" / "null").touch()
    _mount("/dev/null", root / "dev" / "null", None, _BIND)
    (root / "scratch").mkdir()
    _in_memory(root / "scratch", scratch_bytes)
    _read_only(root, 0)


def _in_memory(place: Path, size: int) -> None:
    _mount("tmpfs", place, "tmpfs", _NO_SETUID | _NO_DEVICES, f"size={size},nr_inodes=4096,mode=755")


def _read_only(place: Path, below: int) -> None:
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY, 0, 0, 0)
    called = _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(place), below, attributes, 32)
    _checked(f"making {place} read-only", called)


def _give_up_rights(user: int) -> None:
    """No capability, now or later; `user` in the place of root, if it is another one."""
    _checked("no new privileges", _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    for capability in range(64):
        _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    _checked("no capabilities", _libc.capset(header, (ctypes.c_uint32 * 6)()))


def _mount(source: "str | Path | None", target: "str | Path", kind: str | None, flags: int, data: str = "") -> None:
    names = [None if value is None else os.fsencode(value) for value in (source, target, kind)]
    _checked(f"mounting {target}", _libc.mount(*names, ctypes.c_ulong(flags), data.encode() or None))


def _checked(what: str, returned: int) -> None:
    if returned:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


if __name__ == "__main__":
    sys.exit(main())
