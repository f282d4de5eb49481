// Declares every public type, for headers that only name them.                                 (room: base)
#pragma once

namespace brood::inline v1 {

class Barrier;
class BoundedSemaphore;
class Condition;
class Deadline;
class Decoder;
class Encoder;
class Error;
class Event;
class Handle;
class Lock;
class Permit;
class Process;
template <class T>
class Queue;
class RLock;
class Semaphore;
template <class T>
class SimpleQueue;
template <class T>
class Value;

}  // namespace brood::inline v1
