// Declares every public type, for headers that only name them.                                 (room: base)
#pragma once

#include <cstddef>

namespace brood::inline v1 {

namespace detail {
class Decoder;
class Encoder;
}  // namespace detail
using Decoder = detail::Decoder;
using Encoder = detail::Encoder;

class Address;
template <class T>
class Array;
template <class T, std::size_t N>
class ArrayView;
template <class T>
class Atomic;
class Barrier;
class BoundedSemaphore;
template <class T>
class Broadcast;
template <class Signature>
class Callback;
template <class T>
class Completed;
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
template <class R, class Range>
class MapStream;
template <class T>
class Outcome;
class Permit;
class Pool;
template <class T>
struct Prioritised;
template <class T>
class PriorityQueue;
class Process;
template <class T>
class Promise;
template <class T>
class Queue;
class RLock;
template <class T>
class RawArray;
template <class T>
class RawValue;
template <class T>
class ReadOnlyArray;
class ReadOnlyMemory;
class ReadyFd;
template <class A>
class Remote;
class RemoteError;
class Semaphore;
class ShareableList;
class SharedMemory;
class SharedMemoryManager;
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

namespace shared {
template <class T>
class Container;
template <class E>
class Deque;
template <class K, class V>
class Map;
template <class E>
class Set;
class String;
template <class K, class V>
class UnorderedMap;
template <class E>
class Vector;
}  // namespace shared

}  // namespace brood::inline v1
