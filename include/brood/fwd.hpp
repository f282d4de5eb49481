// Declares every public type, for headers that only name them.                                 (room: base)
#pragma once

namespace brood::inline v1 {

namespace detail {
class Decoder;
class Encoder;
}  // namespace detail
using Decoder = detail::Decoder;
using Encoder = detail::Encoder;

class Address;
class Barrier;
class BoundedSemaphore;
template <class T>
class Broadcast;
template <class Signature>
class Callback;
class Condition;
template <class T>
class Connection;
class Deadline;
class Descriptor;
class Error;
class Event;
template <class T>
class Future;
class Handle;
template <class T>
class JoinableQueue;
template <class T>
class Listener;
template <class T>
class Loan;
class Lock;
class Permit;
template <class T>
struct Prioritised;
template <class T>
class PriorityQueue;
class Process;
template <class T>
class Queue;
class RLock;
class ReadyFd;
template <class A>
class Remote;
class RemoteError;
class Semaphore;
template <class T>
class SimpleQueue;
template <class T>
class Subscription;
template <class T>
class Task;
template <class T>
class Value;
class Waitable;
template <class T>
class View;
template <class T>
class WorkQueue;

}  // namespace brood::inline v1
