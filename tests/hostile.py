"""Programs that cheat, flood, break out or crash. Run as a script, it tries them all and prints the outcome of each.

A program of STDIN is rewarded if it prints SECRET; a function of CALLS is rewarded if f(3) gives SECRET. No program
here can know SECRET, so any that is rewarded has cheated. A program that does something forbidden prints ESCAPED.
"""

import json
import sys

SECRET = "9f2c1e77"


def tries(attempt: str, setup: str = "") -> str:
    """A program that prints ESCAPED if its attempt succeeds."""
    body = "\n    ".join(attempt.strip().split("\n"))
    return f"{setup}\ntry:\n    {body}\n    print('ESCAPED')\nexcept BaseException as error:\n    print(type(error))\n"


LIBC = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)"


def syscall(number: int, *arguments: str) -> str:
    return tries(f"assert libc.syscall({', '.join((str(number), *arguments))}) >= 0", LIBC)


STDIN = {
    # reading: files, other programs, the verifier
    "read_passwd": tries("open('/etc/passwd').read()"),
    "read_home": tries(
        "import os, sys\nassert any(not sys.base_prefix.startswith('/root/' + name) for name in os.listdir('/root'))"
    ),
    "read_project": tries(f"open({__file__!r}).read()"),
    "read_proc_self": tries("open('/proc/self/maps').read()"),
    "read_proc_parent": tries("import os; open(f'/proc/{os.getppid()}/environ').read()"),
    "read_own_descriptor_of_zygote": tries("import os; assert os.read(4, 1)"),
    "read_the_next_request": tries("import os; assert any(os.read(fd, 1) for fd in range(4, 32))"),
    "environment": tries("import os; assert set(os.environ) - {'PYTHONHASHSEED', 'PYTHONUTF8', 'PWD', 'LC_CTYPE'}"),
    "import_project": tries("import oneshot"),
    "import_installed": tries("import numpy"),
    "read_by_descriptor_of_folder": tries(
        "import os; os.open('..', os.O_PATH | os.O_DIRECTORY); open('../etc/passwd')"
    ),
    # writing
    "write_tmp": tries("open('/tmp/escaped', 'w').write('x')"),
    "write_here": tries("open('escaped', 'w').write('x')"),
    "write_shared_memory": tries("open('/dev/shm/escaped', 'w').write('x')"),
    "create_empty_file": tries("import os; os.open('/escaped', os.O_CREAT | os.O_RDONLY)"),
    "make_folder": tries("import os; os.mkdir('/tmp/escaped')"),
    "remove_library": tries("import os; os.unlink(os.__file__)"),
    "rename": tries("import os; os.rename(os.__file__, os.__file__ + 'x')"),
    "make_node": tries("import os; os.mkfifo('/tmp/escaped')"),
    "link": tries("import os; os.symlink('/etc/passwd', '/tmp/escaped')"),
    "chmod": tries("import os; os.chmod(os.__file__, 0o777)"),
    # network
    "tcp": tries("import socket; socket.create_connection(('127.0.0.1', 22), 1)"),
    "udp": tries("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"),
    "unix_socket": tries("import socket; socket.socket(socket.AF_UNIX)"),
    "netlink": tries("import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)"),
    "socket_pair": tries("import socket; socket.socketpair()"),
    # processes
    "fork": tries("import os\nif os.fork() == 0: os._exit(0)"),
    "fork_bomb": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        break\nprint('held')",
    "vfork_by_hand": syscall(58),
    "clone_by_hand": syscall(56, "17", "0", "0", "0", "0"),
    "clone3_by_hand": syscall(435, "0", "0"),
    "subprocess": tries("import subprocess; subprocess.run(['/bin/true'], check=True)"),
    "system": tries("import os; assert os.system('true') == 0"),
    "exec": tries("import os; os.execv('/bin/sh', ['sh', '-c', 'echo ESCAPED'])"),
    "exec_python": tries("import os, sys; os.execv(sys.executable, ['python', '-c', 'print(\"ESCAPED\")'])"),
    "exec_memory": tries(
        "fd = os.memfd_create('x'); os.write(fd, b'#!/bin/sh\\necho ESCAPED'); os.execve(fd, ['x'], {})", "import os"
    ),
    "kill_parent": tries("import os; os.kill(os.getppid(), 9)"),
    "kill_all": tries("import os; os.kill(-1, 9)"),
    "kill_group": tries("import os; os.killpg(0, 9)"),
    "queue_signal": syscall(129, "1", "9", "0"),
    "ptrace_parent": tries("import os; assert libc.ptrace(16, os.getppid(), 0, 0) == 0", LIBC),
    "read_parent_memory": syscall(310, "1", "0", "0", "0", "0", "0"),
    "pidfd_steal": syscall(434, "1", "0"),
    # the kernel
    "mount": syscall(165, "b'x'", "b'/'", "b'tmpfs'", "0", "0"),
    "unshare": syscall(272, "0x10000000"),
    "bpf": syscall(321, "0", "0", "0"),
    "io_uring": syscall(425, "8", "0"),
    "keyring": syscall(250, "0", "0"),
    "userfaultfd": syscall(323, "0"),
    "perf_event": syscall(298, "0", "0", "-1", "-1", "0"),
    "chroot": tries("import os; os.chroot('/')"),
    "become_root": tries("import os; os.setuid(0)"),
    "raise_limits": tries("import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))"),
    "loosen_filter": tries("assert libc.prctl(22, 2, 0, 0, 0) == 0", LIBC),
    "x32_call": syscall(0x40000000 + 39),
    # floods and bombs
    "thread_bomb": "import threading, time\nfor _ in range(100000):\n    threading.Thread(target=time.sleep, args=(9,)).start()",
    "memory_bomb": "x = [0]\nwhile True:\n    x += x",
    "memory_at_once": "bytearray(1 << 40)",
    "memory_in_files": "import os\nwhile True:\n    os.write(os.memfd_create('x'), bytes(1 << 20))",
    "output_bomb": "while True:\n    print('x' * 10000)",
    "output_bomb_raw": "import os\nwhile True:\n    os.write(1, b'x' * 100000)",
    "output_bomb_on_error_stream": "import sys\nwhile True:\n    sys.stderr.write('x' * 100000)",
    "result_flood": "import os\nwhile True:\n    os.write(3, b'x' * 100000)",
    "endless_loop": "while True:\n    pass",
    "endless_loop_no_signals": (
        "import signal\nfor s in range(1, 65):\n    try:\n        signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\nwhile True:\n    pass"
    ),
    "sleep": "import time\ntime.sleep(1000)",
    "power_tower": "9**9**9**9",
    "huge_integer_text": "import sys\nsys.set_int_max_str_digits(0)\nprint(len(str(7**10**7)))",
    "regex_bomb": "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
    "recursion": "def f():\n    return f()\nf()",
    "deep_recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(x):\n    return [f([x])]\nf(0)",
    "segfault": "import ctypes\nctypes.string_at(0)",
    "compile_bomb": "eval('(' * 100 + '1' + '**9' * 5 + ')' * 100 + '**9**9**9')",
    "nested_source": "eval('[' * 100000)",
    # giving up early and looking finished
    "exit_quietly": "import os\nos._exit(0)",
    "sys_exit": "import sys\nsys.exit(0)",
    "close_everything": "import os\nos.closerange(0, 100)",
    "abort": "import os\nos.abort()",
    # forging
    "forge_frame_on_result_pipe": "import os, struct\nos.write(3, struct.pack('>IIc', 4, 0, b'C') + b'true')",
    "forge_many_frames": "import os, struct\nfor i in range(99):\n    os.write(3, struct.pack('>IIc', 0, i, b'O'))",
    "forge_verdict_text": 'print(\'{"status": "correct"}\')',
    "forge_report_on_old_stdout": "import os\nfor fd in range(1, 32):\n    try:\n        os.write(fd, b'\\0' * 12)\n    except OSError:\n        pass",
    "patch_the_runner": (
        "import sys\nf = sys._getframe()\nwhile f.f_back:\n    f = f.f_back\n"
        "for name in list(f.f_globals):\n    if callable(f.f_globals[name]) and not name.startswith('_'):\n"
        "        f.f_globals[name] = lambda *a, **k: b'correct'"
    ),
    "exit_hooks": "import atexit\natexit.register(print, 'correct')",
    "trace_hooks": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\nprint('correct')",
}
FIND_SECRET = """
def look(thing, seen, depth):
    if depth > 6 or id(thing) in seen: return None
    seen.add(id(thing))
    if isinstance(thing, str) and len(thing) == 8 and thing.isalnum() and any(c.isdigit() for c in thing): return thing
    if isinstance(thing, dict): thing = list(thing.values())
    if isinstance(thing, (list, tuple)):
        for item in thing:
            found = look(item, seen, depth + 1)
            if found: return found
"""
CALLS = {
    "always_equal": "class E:\n    __eq__ = lambda s, o: True\n    __hash__ = lambda s: 0\ndef f(x): return E()",
    "always_equal_str": "class E(str):\n    __eq__ = lambda s, o: True\n    __hash__ = str.__hash__\ndef f(x): return E('x')",
    "always_equal_list": "class E(list):\n    __eq__ = lambda s, o: True\ndef f(x): return [E()]",
    "named_str": "E = type('str', (), {'__eq__': lambda s, o: True})\ndef f(x): return E()",
    "lying_class": "class E:\n    __class__ = str\n    __eq__ = lambda s, o: True\ndef f(x): return E()",
    "walk_frames": FIND_SECRET + "import sys\ndef f(x):\n    g = sys._getframe()\n    while g:\n"
    "        found = look([g.f_locals, g.f_globals], set(), 0)\n        if found: return found\n        g = g.f_back",
    "walk_garbage": FIND_SECRET + "import gc\ndef f(x): return look(gc.get_objects(), set(), 0)",
    "read_descriptors": (
        "import os\ndef f(x):\n    for fd in range(32):\n        try: got = os.pread(fd, 100, 0)\n"
        "        except OSError: continue\n        if got: return got.decode()"
    ),
    "hostile_repr": "class E:\n    def __repr__(s): raise SystemExit\n    __str__ = __repr__\ndef f(x): return E()",
    "hostile_reduce": "import os\nclass E:\n    def __reduce__(s): return os.system, ('true',)\ndef f(x): return E()",
    "hostile_error": "class E(Exception):\n    def __str__(s): return 'x' * 10**9\ndef f(x): raise E",
    "hostile_metaclass": (
        "class M(type):\n    @property\n    def __name__(s): raise SystemExit\n"
        "class E(Exception, metaclass=M): pass\ndef f(x): raise E"
    ),
    "base_exception": "class E(BaseException): pass\ndef f(x): raise E",
    "return_huge_integer": "def f(x): return 7**10**6",
    "return_nan": "def f(x): return float('nan')",
    "return_deep": "def f(x):\n    y = []\n    for _ in range(10**5): y = [y]\n    return y",
    "return_cycle": "def f(x):\n    y = []\n    y.append(y)\n    return y",
    "return_long": "def f(x): return 'x' * 10**7",
    "return_unhashable_set": "def f(x): return {frozenset([1]), (1, 2)}",
    "return_generator": "def f(x): return (i for i in range(3))",
    "return_function": "def f(x): return f",
    "return_surrogate": "def f(x): return '\\ud800'",
    "patch_json": "import json\njson.dumps = lambda *a, **k: '\"correct\"'\ndef f(x): return 0",
    "patch_builtins": "import builtins\nbuiltins.type = lambda x: str\nbuiltins.isinstance = lambda *a: True\ndef f(x): return 0",
    "forge_value_then_exit": (
        "import os, struct\ndef f(x):\n    os.write(3, struct.pack('>IIc', 6, 0, b'V') + b'\"true\"')\n    os._exit(0)"
    ),
    "forge_bad_json": "import os, struct\ndef f(x):\n    os.write(3, struct.pack('>IIc', 5, 0, b'V') + b'{\"int')\n    os._exit(0)",
    "forge_deep_json": (
        "import os, struct\ndef f(x):\n    os.write(3, struct.pack('>IIc', 10**5, 0, b'V') + b'[' * 10**5)\n    os._exit(0)"
    ),
    "forge_huge_length": "import os, struct\ndef f(x):\n    os.write(3, struct.pack('>IIc', 2**31, 0, b'V'))\n    os._exit(0)",
    "forge_colliding_set": (
        "import os, struct, json\ndef f(x):\n    p = json.dumps({'set': [{'int': hex(i * (2**61 - 1))} for i in range(2 * 10**4 + 9)]}"
        ").encode()\n    os.write(3, struct.pack('>IIc', len(p), 0, b'V') + p)\n    os._exit(0)"
    ),
    "forge_colliding_frozenset": (
        "import os, struct, json\ndef f(x):\n    p = json.dumps({'frozenset': [{'int': hex(i * (2**61 - 1))} for i in range(2 * 10**4 + 9)]}"
        ").encode()\n    os.write(3, struct.pack('>IIc', len(p), 0, b'V') + p)\n    os._exit(0)"
    ),
    "missing_function": "def g(x): return x",
    "not_a_program": "this is no program (",
    "null_byte": "f = lambda x: '\0'",
    "exit_when_loaded": "import os\nos._exit(0)",
    "never_loads": "while True: pass",
}


def try_all(backend: str) -> dict[str, list[str]]:
    """name -> [status, what it printed], every program once in one sandbox."""
    from oneshot.sandbox import Limits, Sandbox
    from oneshot.verifiers.code import CodeVerifier, ProgramTest

    limits = Limits(cpu_seconds=0.5, wall_seconds=3.0)
    with Sandbox(num_workers=8, backend=backend, limits=limits) as sandbox:  # many of them only sleep
        verifier = CodeVerifier(sandbox, patience=1)

        def attempt(item):
            name, program = item
            if name in STDIN:
                test = ProgramTest(expected=SECRET, stdin="")
                printed = str(sandbox.run({"program": program, "tests": [test.request]}))
            else:
                test, printed = ProgramTest(expected=SECRET, call="f", args=(3,)), ""
            return name, [str(verifier.run_tests(program, [test])[0]), printed[:2000]]

        results = dict(sandbox.map(attempt, (STDIN | CALLS).items()))
        honest = [ProgramTest(expected=SECRET, stdin=SECRET), ProgramTest(expected="x", stdin="x")]
        results["honest"] = [str(verifier.verify("print(input())", honest).status), ""]
    return results


if __name__ == "__main__":
    json.dump(try_all(sys.argv[1]), sys.stdout)
