"""Python's multiprocessing, measured as brood_bench measures the others: prints one sample a line.

usage: peer.py lock_pair BATCHES                   nanoseconds a pair
       peer.py event_broadcast WAITERS TIMES       microseconds from set() until the last waiter runs
       peer.py start METHOD MEGABYTES TIMES        milliseconds from start() to the end of join()
       peer.py channel queue|pipe SHAPE BYTES PRODUCERS CONSUMERS MILLISECONDS IN_PLACE
                                                   Queue, as channel.hpp: microseconds a round trip (SHAPE 0), or messages a second (2)
       peer.py pool KIND rate COUNT SAMPLES CHUNK  two workers, KIND Pool or ProcessPoolExecutor: tasks a second; CHUNK 0: as Pool chooses
       peer.py pool KIND apply COUNT               microseconds there and back
       peer.py pool KIND coarse TASKS MICROSECONDS SAMPLES   milliseconds
       peer.py manager get|set CLIENTS COUNT       a Manager's dict: microseconds a call, or, of several clients, calls a second
"""
import array
import concurrent.futures
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


END = 1 << 63
SEQUENCE_BITS = 48


class Messages:
    """Bytes with a number at both ends, as the other contenders send. Made anew each time: the queue encodes them later."""

    def __init__(self, size):
        self.size, self.body = size, bytes(max(size - 16, 0))

    def make(self, number):
        end = number.to_bytes(8, "little")
        return end if self.size == 8 else b"".join((end, self.body, end))

    def number(self, message):
        if len(message) != self.size or message[:8] != message[-8:]:
            sys.exit("a message arrived torn")
        return int.from_bytes(message[:8], "little")


def pin_to_two():
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:2]))


def answer(there, back, messages):
    number = 0
    while number != END:
        number = messages.number(there.get())
        back.put(messages.make(number))
        if number == 0:
            pin(1)  # after the queue's thread was made, so that it can run beside us


def round_trips(context, size, seconds):
    there, back, messages = context.Queue(), context.Queue(), Messages(size)
    child = context.Process(target=answer, args=(there, back, messages))
    child.start()
    samples = array.array("d")
    begin = end = number = 0
    while True:
        start = time.perf_counter_ns()
        there.put(messages.make(number))
        if messages.number(back.get()) != number:
            sys.exit("another message came back than was sent")
        now = time.perf_counter_ns()
        if number == 0:
            pin(0)
            begin = now + min(20_000_000, int(seconds * 1e9))
            end = begin + int(seconds * 1e9)
        elif start >= begin:
            samples.append((now - start) / 1e3)
        if number == END:
            break
        number = number + 1 if now < end or not samples else END
    child.join()
    for sample in samples:
        print(sample)


def produce(queue, me, lone, messages, ready, go, stop, sent):
    queue.put(messages.make(me << SEQUENCE_BITS | 1))
    if lone:
        pin(0)
    ready.release()
    go.wait()
    sequence = 1
    while not stop.value:
        sequence += 1
        queue.put(messages.make(me << SEQUENCE_BITS | sequence))
    sent[me] = sequence
    queue.close()
    queue.join_thread()


def consume(queue, me, lone, messages, producers, taken, results):
    if lone:
        pin(1)
    last, counts, sums = [0] * producers, [0] * producers, [0] * producers
    while True:
        number = messages.number(queue.get())
        if number == END:
            break
        producer, sequence = number >> SEQUENCE_BITS, number & (1 << SEQUENCE_BITS) - 1
        if sequence <= last[producer]:
            sys.exit("messages of one producer are doubled or out of order")
        last[producer] = sequence
        counts[producer] += 1
        sums[producer] += sequence
        taken[me] += 1
    results.put((counts, sums))


def rate(context, size, producers, consumers, seconds):
    messages = Messages(size)
    queue, results = context.Queue(min(max((1 << 20) // size, 4), 1024)), context.SimpleQueue()
    ready, go = context.Semaphore(0), context.Event()
    stop = context.Value("b", 0, lock=False)
    taken, sent = context.Array("q", consumers, lock=False), context.Array("q", producers, lock=False)
    lone = producers == consumers == 1
    takers = [context.Process(target=consume, args=(queue, i, lone, messages, producers, taken, results)) for i in range(consumers)]
    makers = [context.Process(target=produce, args=(queue, i, lone, messages, ready, go, stop, sent)) for i in range(producers)]
    for child in takers + makers:
        child.start()
    for _ in makers:
        ready.acquire()
    go.set()
    time.sleep(min(0.025, seconds))
    first_at, first = time.perf_counter_ns(), sum(taken)
    while True:
        time.sleep(seconds)
        last_at, last = time.perf_counter_ns(), sum(taken)
        if last != first:
            break
    stop.value = 1
    for child in makers:
        child.join()
    for _ in takers:
        queue.put(messages.make(END))
    got = [results.get() for _ in takers]
    for i in range(producers):
        if sum(counts[i] for counts, _ in got) != sent[i] or sum(sums[i] for _, sums in got) != sent[i] * (sent[i] + 1) // 2:
            sys.exit("messages were lost or doubled")
    for child in takers:
        child.join()
    print((last - first) / ((last_at - first_at) / 1e9))


class PipeAsQueue:
    """One way, one to one."""

    def __init__(self, context):
        self.reader, self.writer = context.Pipe(False)
        self.get, self.put = self.reader.recv, self.writer.send

    def close(self):
        pass

    def join_thread(self):
        pass


def channel(kind, shape, size, producers, consumers, milliseconds, _in_place):
    pin_to_two()
    context = multiprocessing.get_context("fork")
    if kind == "pipe":
        context.Queue = lambda *_: PipeAsQueue(context)
    seconds = int(milliseconds) / 1000
    if int(shape) == 0:
        round_trips(context, int(size), seconds)
    else:
        rate(context, int(size), int(producers), int(consumers), seconds)


def plus_one(x):
    return x + 1


def compute(microseconds):
    until = time.thread_time_ns() + 1000 * microseconds
    while time.thread_time_ns() < until:
        pass
    return microseconds


def pool(kind, what, *numbers):
    workers = 2
    pin_to_two()
    context = multiprocessing.get_context("fork")
    if kind == "Pool":
        made = context.Pool(workers)
        mapped, apply = made.map, lambda f, x: made.apply(f, (x,))
    else:
        made = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)
        mapped = lambda f, items, chunk: list(made.map(f, items, chunksize=chunk))
        apply = lambda f, x: made.submit(f, x).result()
    numbers = [int(number) for number in numbers]
    with made:
        mapped(plus_one, range(64), 1)
        if what == "rate":
            count, samples, chunk = numbers
            items, expected = range(count), list(range(1, count + 1))
            chunk = chunk or -(-count // (4 * workers))
            for _ in range(samples):
                begin = time.perf_counter_ns()
                results = mapped(plus_one, items, chunk)
                end = time.perf_counter_ns()
                if results != expected:
                    sys.exit("a result is wrong")
                print(count / (end - begin) * 1e9)
        elif what == "apply":
            count, = numbers
            for i in range(-count // 10, count):
                begin = time.perf_counter_ns()
                result = apply(plus_one, i)
                end = time.perf_counter_ns()
                if result != i + 1:
                    sys.exit("another result came back")
                if i >= 0:
                    print((end - begin) / 1e3)
        else:
            tasks, microseconds, samples = numbers
            for _ in range(samples):
                begin = time.perf_counter_ns()
                mapped(compute, [microseconds] * tasks, 1)
                print((time.perf_counter_ns() - begin) / 1e6)


def manager_calls(mapping, what, count):
    if what == "set":
        for i in range(count):
            mapping["key"] = i
    else:
        for _ in range(count):
            mapping["key"]


def manager_client(mapping, what, count, gate):
    mapping["key"] = 1
    gate.wait()
    manager_calls(mapping, what, count)
    gate.wait()


def manager(what, clients, count):
    pin_to_two()
    clients, count = int(clients), int(count)
    context = multiprocessing.get_context("fork")
    with context.Manager() as server:
        mapping = server.dict({"key": 1})
        if clients == 1:
            pin(0)
            manager_calls(mapping, what, count // 10)
            for _ in range(count):
                begin = time.perf_counter_ns()
                manager_calls(mapping, what, 1)
                print((time.perf_counter_ns() - begin) / 1000)
            return
        gate = context.Barrier(clients + 1)
        children = [context.Process(target=manager_client, args=(mapping, what, count, gate)) for _ in range(clients)]
        for child in children:
            child.start()
        gate.wait()
        begin = time.perf_counter_ns()
        gate.wait()
        print(clients * count / ((time.perf_counter_ns() - begin) / 1e9))
        for child in children:
            child.join()


if __name__ == "__main__":
    {"lock_pair": lock_pair, "event_broadcast": event_broadcast, "start": start, "channel": channel, "pool": pool, "manager": manager}[sys.argv[1]](*sys.argv[2:])
