"""Python's multiprocessing, measured as brood_bench measures the others: prints one sample a line.

usage: peer.py lock_pair BATCHES                   nanoseconds a pair
       peer.py event_broadcast WAITERS TIMES       microseconds from set() until the last waiter runs
       peer.py start METHOD MEGABYTES TIMES        milliseconds from start() to the end of join()
"""
import mmap
import multiprocessing
import os
import sys
import time


def pin(n):
    """As pin() of harness.cpp: the n-th processor this program may use."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[n % len(allowed)]})


def touch_ballast(megabytes):
    size = megabytes << 20
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    piece = b"\1" * (1 << 20)
    for at in range(0, size, 1 << 20):
        memory[at:at + (1 << 20)] = piece
    return memory


def lock_pair(batches):
    pin(0)
    lock = multiprocessing.Lock()
    pairs = 2000
    for _ in range(int(batches)):
        begin = time.perf_counter_ns()
        for _ in range(pairs):
            lock.acquire()
            lock.release()
        middle = time.perf_counter_ns()
        for _ in range(pairs):
            pass
        loop = time.perf_counter_ns() - middle
        print((middle - begin - loop) / pairs)


def event_waiter(events, who, woken_at, entering, done):
    for event in events:
        with entering.get_lock():
            entering.value += 1
        event.wait()
        woken_at[who] = time.monotonic_ns()
        with done.get_lock():
            done.value += 1


def await_asleep(pid):
    while True:
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "S":
                return
        os.sched_yield()


def event_broadcast(waiters, times):
    waiters, times = int(waiters), int(times)
    context = multiprocessing.get_context("fork")
    # One event a round: clearing one would race with its waiters.
    events = [context.Event() for _ in range(times)]
    woken_at = context.Array("q", waiters, lock=False)
    entering, done = context.Value("i", 0), context.Value("i", 0)
    children = [context.Process(target=event_waiter, args=(events, who, woken_at, entering, done)) for who in range(waiters)]
    for child in children:
        child.start()
    for i, event in enumerate(events):
        while entering.value < waiters * (i + 1):
            time.sleep(0.0005)
        # An S may be that of the counter's lock, or of the event's own; those sleeps are over after this pause.
        time.sleep(0.002)
        for child in children:
            await_asleep(child.pid)
        set_at = time.monotonic_ns()
        event.set()
        while done.value < waiters * (i + 1):
            time.sleep(0.0005)
        print((max(woken_at) - set_at) / 1e3)
    for child in children:
        child.join()


def nothing():
    pass


def start(method, megabytes, times):
    context = multiprocessing.get_context(method)

    def once():
        begin = time.monotonic_ns()
        child = context.Process(target=nothing)
        child.start()
        child.join()
        assert child.exitcode == 0
        return (time.monotonic_ns() - begin) / 1e6

    once()  # the first one starts the forkserver, and reads modules from disk
    ballast = touch_ballast(int(megabytes))
    for _ in range(int(times)):
        print(once())
    del ballast


if __name__ == "__main__":
    {"lock_pair": lock_pair, "event_broadcast": event_broadcast, "start": start}[sys.argv[1]](*sys.argv[2:])
