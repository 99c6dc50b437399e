#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The symbolizer is confined, and its death costs nothing but names."""
import ctypes
import errno

from harness import *


def status(pid):
    return dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)


def symbolizer(daemon):
    def find():
        for pid in daemon.children():
            try:
                if "symbol" in open(f"/proc/{pid}/comm").read() or b"symbolizer" in open(f"/proc/{pid}/cmdline", "rb").read():
                    return pid
            except OSError:
                pass
        return None
    return wait_for(find, "there is a symbolizer process")


@test
def the_symbolizer_has_no_privilege():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s"))
    daemon.wait_files(1)
    s = status(symbolizer(daemon))
    check_equal(int(s["CapEff"], 16), 0, "CapEff")
    check_equal(int(s["CapPrm"], 16), 0, "CapPrm")
    check_equal(int(s["CapInh"], 16), 0, "CapInh")
    check_equal(s["NoNewPrivs"], "1", "NoNewPrivs")
    if SANITIZED:
        note("a sanitized build may do without the filter of system calls")
    else:
        check_equal(s["Seccomp"], "2", "Seccomp")


@test
def the_symbolizer_holds_no_descriptor_that_it_could_write_to_but_its_socket():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s"))
    daemon.wait_files(2)
    pid = symbolizer(daemon)
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            where = os.readlink(f"/proc/{pid}/fd/{fd}")
            flags = int(re.search(r"flags:\s+(\d+)", open(f"/proc/{pid}/fdinfo/{fd}").read())[1], 8)
        except OSError:
            continue
        note(f"{fd}: {where} {oct(flags)}")
        check("bpf" not in where and "perf_event" not in where, f"it has {where}")
        if where.startswith("/") and not where.startswith("/dev/null") and where != daemon.log_path:
            check(flags & os.O_ACCMODE == os.O_RDONLY, f"it may write to {where}")


@test
def the_daemon_itself_has_dropped_what_it_does_not_need():
    daemon = Daemon(cpu_config("1s"))
    caps = int(status(daemon.pid)["CapEff"], 16)
    forbidden = {"CAP_SYS_MODULE": 16, "CAP_SYS_ADMIN": 21, "CAP_SYS_BOOT": 22, "CAP_NET_ADMIN": 12, "CAP_SYS_RAWIO": 17,
                 "CAP_MKNOD": 27}
    held = [name for name, bit in forbidden.items() if caps >> bit & 1]
    check(not held, f"in effect: {held}")


@test
def killing_the_symbolizer_costs_no_profile():
    target = keep_a_core_busy()
    daemon = Daemon(cpu_config("1s", rate=199))
    used = cpu_seconds(target.pid)
    daemon.wait_files(1)
    for _ in range(5):
        pid = symbolizer(daemon)
        os.kill(pid, signal.SIGKILL)
        # Something new to name makes it needed again.
        Target("c-inlined-fp", 1).truth()
        Target("c-threads", 1).truth()
    check(daemon.alive(), "the daemon died with it")
    moment = time.time_ns()
    expected = 199 * (cpu_seconds(target.pid) - used)
    samples = daemon.samples_of(target.pid, until_nsec=moment)
    note(f"{total(samples)} samples, {expected:.0f} expected until then")
    check_measured(total(samples) >= 0.9 * expected, "samples were lost")
    truth = Target("c-deep-fp", 3).truth()
    _, named = shares(daemon.samples_of(truth["pid"], until_nsec=time.time_ns()), truth["cpu_ns"])
    check_measured(named > 200, f"after its deaths only {named} samples are named")


@test
def a_hung_symbolizer_is_replaced():
    daemon = Daemon(cpu_config("1s", rate=199))
    Target("c-shares-fp", 2).truth()
    daemon.wait_files(1)
    pid = symbolizer(daemon)
    os.kill(pid, signal.SIGSTOP)
    truth = Target("c-threads", 3).truth()
    start = time.monotonic()
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    note(f"files were there after {time.monotonic() - start:.1f} s")
    check_measured(total(samples) > 100, "samples were lost")
    check(daemon.alive(), "the daemon died")


class Registers(ctypes.Structure):
    """struct user_regs_struct of x86-64."""
    _fields_ = [(name, ctypes.c_ulonglong) for name in
                "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base "
                "ds es fs gs".split()]


def call_in_its_place(pid, number, *arguments, text=b""):
    """Has the process make a system call, as an attacker would who took it over; its result, or None if that killed it.
    An argument None stands for the address of the text."""
    PEEKTEXT, POKEDATA, SINGLESTEP, GETREGS, SETREGS, ATTACH, DETACH = 1, 5, 9, 12, 13, 16, 17
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    ptrace.restype = ctypes.c_long
    regs = Registers()

    def stops_in_a_system_call():
        check(ptrace(ATTACH, pid, None, None) == 0, "cannot attach to it")
        os.waitpid(pid, 0)
        ptrace(GETREGS, pid, None, ctypes.cast(ctypes.byref(regs), ctypes.c_void_p))
        # It waits there most of the time: then the instruction before is `syscall`.
        if ptrace(PEEKTEXT, pid, regs.rip - 2, None) & 0xffff == 0x050f:
            return True
        ptrace(DETACH, pid, None, None)
        return False

    wait_for(stops_in_a_system_call, "it waits in a system call")
    text = text.ljust((len(text) // 8 + 1) * 8, b"\0")
    where = (regs.rsp - 4096) & ~7
    for i in range(0, len(text), 8):
        ptrace(POKEDATA, pid, where + i, int.from_bytes(text[i:i + 8], "little"))
    regs.rip -= 2
    regs.rax, regs.orig_rax = number, (1 << 64) - 1
    for register, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), arguments):
        setattr(regs, register, (where if value is None else value) & ((1 << 64) - 1))
    ptrace(SETREGS, pid, None, ctypes.cast(ctypes.byref(regs), ctypes.c_void_p))
    ptrace(SINGLESTEP, pid, None, None)
    _, status_word = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status_word) or os.WSTOPSIG(status_word) == signal.SIGSYS:
        result = None
    else:
        ptrace(GETREGS, pid, None, ctypes.cast(ctypes.byref(regs), ctypes.c_void_p))
        result = ctypes.c_long(regs.rax).value
    # While somebody traces it, its parent does not learn that it is dead: we have to, first.
    if not os.WIFSIGNALED(status_word):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return result


FORBIDDEN = {
    "open a file to read": (257, (-100, None, os.O_RDONLY, 0), b"/etc/passwd"),
    "open a file to write": (257, (-100, None, os.O_WRONLY | os.O_CREAT, 0o600), b"/tmp/tsprofd-escaped"),
    "make a socket": (41, (socket.AF_INET, socket.SOCK_STREAM, 0), b""),
    "make a Unix socket": (41, (socket.AF_UNIX, socket.SOCK_STREAM, 0), b""),
    "start a process": (57, (), b""),
    "run a program": (59, (None, 0, 0), b"/bin/true"),
    "trace a process": (101, (16, 1, 0, 0), b""),
    "kill a process": (62, (1, 0), b""),
    "load a BPF program": (321, (0, 0, 0), b""),
    "read another process's memory": (310, (1, 0, 0, 0, 0, 0), b""),
    "make a user namespace": (272, (0x10000000,), b""),
}


@test_each(list(FORBIDDEN))
def a_symbolizer_taken_over_cannot(what):
    if SANITIZED:
        raise Skip("a sanitized build may do without the filter of system calls")
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s"))
    daemon.wait_files(1)
    number, arguments, text = FORBIDDEN[what]
    pid = symbolizer(daemon)
    result = call_in_its_place(pid, number, *arguments, text=text)
    note("it was killed for it" if result is None else f"result {result} ({os.strerror(-result) if result < 0 else 'done!'})")
    check(result is None or result in (-errno.EPERM, -errno.EACCES, -errno.ENOSYS), f"result {result}")
    check(not os.path.exists("/tmp/tsprofd-escaped"), "it wrote a file")
    daemon.wait_files(len(daemon.files()) + 2)


main()
