"""Confinement of programs that open untrusted files: no network, no other process, no files but those given.

This module makes the system calls itself. Its launcher runs without site-packages, so that it starts in 20 ms, and
therefore cannot import third-party packages; pyseccomp would also need libseccomp on the machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import stat
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

MEMORY_BYTES = 2**30  # bytes of address space; ffmpeg needs about 200 MB
CPU_S = 900  # seconds of CPU time; ffmpeg takes about 10 s per hour of audio
MAX_FILE_BYTES = 1 << 20  # bytes of the program's output, and of each file that it writes
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/ld.so.conf", "/nix/store", "/gnu/store")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
NOT_CONFINED = 125  # exit code: the kernel supports the rules but refuses them

# linux/prctl.h, linux/landlock.h, linux/seccomp.h, linux/audit.h, linux/capability.h
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446  # on every architecture
ABI_WITH_REFER, ABI_WITH_TRUNCATE, ABI_WITH_NETWORK, ABI_WITH_IOCTL, ABI_WITH_SCOPES = 2, 3, 4, 5, 6
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_FILE = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE, IOCTL = 1 << 13, 1 << 14, 1 << 15
ALL_OF_FIRST_ABI = (1 << 13) - 1
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_FILE | REFER | TRUNCATE
# All rights that a rule for a file (not a folder) may name.
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL
CAP_DAC_READ_SEARCH = 2  # the only capability that root keeps, because it must read other users' files
SECCOMP_SET_MODE_FILTER, SECCOMP_GET_ACTION_AVAIL, RET_ALLOW, RET_ERRNO, RET_KILL = 1, 2, 0x7FFF0000, 0x50000, 1 << 31
X32_CALLS = 1 << 30
# Calls that could bypass the rules, by architecture, and those that Landlock of older kernels does not cover.
# machine: (audit architecture, number of seccomp(), other calls)
CALLS: Mapping[str, tuple[int, int, Mapping[str, int]]] = {
    "x86_64": (0xC000003E, 317, {
        "socket": 41, "io_uring_setup": 425, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
        "pidfd_getfd": 438, "bpf": 321, "unshare": 272, "setns": 308, "truncate": 76,
        "chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452,
        "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190,
        "fork": 57, "vfork": 58, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
        "pidfd_send_signal": 424,
    }),
    "aarch64": (0xC00000B7, 277, {
        "socket": 198, "io_uring_setup": 425, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271,
        "pidfd_getfd": 438, "bpf": 280, "unshare": 97, "setns": 268, "truncate": 45,
        "fchmod": 52, "fchmodat": 53, "fchmodat2": 452,
        "fchownat": 54, "fchown": 55, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7,
        "tkill": 130, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "pidfd_send_signal": 424,
    }),
}  # fmt: skip
# Calls that are refused unless their first argument keeps them within this process.
CLONE = {"x86_64": 56, "aarch64": 220}
SIGNALS = {"x86_64": {"kill": 62, "tgkill": 234}, "aarch64": {"kill": 129, "tgkill": 131}}
CLONE3 = 435  # its arguments lie in memory, which a filter cannot read; without it libraries use clone()
CLONE_THREAD = 0x10000


def confined(
    program: Sequence[str | os.PathLike[str]],
    reads: Sequence[str | os.PathLike[str]] = (),
    writes: Sequence[str | os.PathLike[str]] = (),
    max_file_bytes: int | None = MAX_FILE_BYTES,
) -> list[str]:
    """Return the command that runs a program confined. The program ends with the process that starts it.

    Args:
        reads: files and folders that it may read besides programs, libraries and Python's packages.
        writes: folders in which it has full access.
        max_file_bytes: maximum bytes of each file that it writes; None for no limit.
    """
    import shutil  # here, because importing it takes longer than all the others, and main() does not need it

    missing_confinement()  # for its log entry about missing rules
    first = shutil.which(program[0]) or program[0]
    given = [os.path.realpath(path) for path in (*_programs_of(first), *reads)]
    own = [os.path.realpath(path) for path in writes]
    rules = map(str, (os.getpid(), max_file_bytes or 0, len(given), len(own)))
    # Isolated and without site-packages: it imports no user's packages, and starts in 20 ms.
    launcher = [sys.executable, "-I", "-S", __file__]
    return [*launcher, *rules, *given, *own, *(os.fspath(one) for one in (first, *program[1:]))]


def _programs_of(first: str | os.PathLike[str]) -> Iterator[str]:
    yield from SYSTEM
    real = os.path.realpath(first)
    yield real
    yield f"{real}/../../lib"  # libraries of a program outside the system's folders
    yield from (sys.prefix, sys.base_prefix)


@cache
def missing_confinement() -> str:
    """Return a sentence on the rules that this kernel cannot enforce, "" if it enforces all; log it the first time."""
    missing = []
    if _landlock_version() < 1:
        missing.append("it can access files (the kernel has no Landlock)")
    if not _can_filter():
        missing.append("it can access the network (the kernel has no seccomp filters)")
    sentence = "; ".join(missing)
    if sentence:
        import logging

        logging.getLogger(__name__).warning(
            "The process that opens untrusted files is not fully confined: %s.", sentence
        )
    return sentence


def _landlock_version() -> int:
    return _call(LANDLOCK_CREATE_RULESET, None, 0, 1) if sys.platform == "linux" else 0


def _can_filter() -> bool:
    if sys.platform != "linux" or os.uname().machine not in CALLS:
        return False
    action = ctypes.c_uint32(RET_ERRNO)
    return _call(CALLS[os.uname().machine][1], SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(action)) == 0


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    given = (ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    return int(libc.syscall(ctypes.c_long(number), *given))


def _needed(number: int, *arguments: object) -> int:
    if (result := _call(number, *arguments)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _limit(max_file_bytes: int | None) -> None:
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, max_file_bytes),
    ):
        if most is not None:
            try:
                resource.setrlimit(what, (most, most))
            except (ValueError, OSError):
                pass  # the present limit is lower, or macOS does not support this one


def _keep_files(version: int, reads: Sequence[str], writes: Sequence[str]) -> None:
    """Restrict this process to files below these paths."""
    handled = ALL_OF_FIRST_ABI
    for first, right in ((ABI_WITH_REFER, REFER), (ABI_WITH_TRUNCATE, TRUNCATE), (ABI_WITH_IOCTL, IOCTL)):
        handled |= right if version >= first else 0
    network = 3 if version >= ABI_WITH_NETWORK else 0  # bind and connect
    scopes = 3 if version >= ABI_WITH_SCOPES else 0  # abstract sockets, and signals
    attributes = struct.pack("QQQ", handled, network, scopes)
    size = 24 if scopes else 16 if network else 8
    ruleset = _needed(LANDLOCK_CREATE_RULESET, attributes, size, 0)
    for paths, rights in ((reads, READ), (writes, WRITE), (DEVICES, READ_FILE | WRITE_FILE)):
        for path in paths:
            try:
                opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # this path does not exist here
            allowed = rights & handled & (-1 if stat.S_ISDIR(os.fstat(opened).st_mode) else OF_A_FILE)
            _needed(LANDLOCK_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, opened), 0)
            os.close(opened)
    _needed(LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _refuse_calls(machine: str) -> None:
    """Make the calls of :data:`CALLS`, new processes and signals to other processes fail with "not permitted".

    A new process would escape the limits, and would outlive this one.
    """
    architecture, seccomp, calls = CALLS[machine]

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_true, if_false, value)

    load, equal, at_least, has_bits, give = 0x20, 0x15, 0x35, 0x45, 0x06
    first_argument = 16  # offset of its lower half
    refused = instruction(give, RET_ERRNO | errno.EPERM)
    lines = [
        instruction(load, 4),  # loads the architecture
        instruction(equal, architecture, 1, 0),
        instruction(give, RET_KILL),
        instruction(load, 0),  # loads the number of the call
        instruction(at_least, X32_CALLS, 0, 1),
        refused,
    ]
    for number in calls.values():
        lines += [instruction(equal, number, 0, 1), refused]
    lines += [instruction(equal, CLONE3, 0, 1), instruction(give, RET_ERRNO | errno.ENOSYS)]
    own = {number: instruction(equal, os.getpid(), 1, 0) for number in SIGNALS[machine].values()}
    for number, test in {CLONE[machine]: instruction(has_bits, CLONE_THREAD, 1, 0), **own}.items():
        lines += [instruction(equal, number, 0, 4), instruction(load, first_argument), test, refused]
        lines.append(instruction(give, RET_ALLOW))
    lines.append(instruction(give, RET_ALLOW))
    filled = ctypes.create_string_buffer(b"".join(lines))
    program = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(filled))
    _needed(seccomp, SECCOMP_SET_MODE_FILTER, 0, program)


def _give_up_rights(reads: Sequence[str], writes: Sequence[str]) -> None:
    """Confine this process as far as the kernel can. Raises OSError if the kernel supports a rule but refuses it."""
    prctl = ctypes.CDLL(None).prctl
    for capability in range(64):  # only root has any
        if capability != CAP_DAC_READ_SEARCH:
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if (version := _landlock_version()) >= 1:
        _keep_files(version, reads, writes)
    if _can_filter():
        _refuse_calls(os.uname().machine)


def main() -> None:
    """Apply the limits, then execute the program that follows the options of :func:`confined` in the arguments."""
    parent, largest_file, reads, writes = map(int, sys.argv[1:5])
    paths, program = sys.argv[5 : 5 + reads + writes], sys.argv[5 + reads + writes :]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(NOT_CONFINED)
    _limit(largest_file or None)
    if sys.platform == "linux":
        try:
            _give_up_rights(paths[:reads], paths[reads:])
        except OSError as error:
            sys.stderr.write(f"It could not be confined: {error.strerror}\n")
            sys.exit(NOT_CONFINED)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
