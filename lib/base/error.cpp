#include "brood/error.hpp"

// Destructors live here so that each type has one vtable, in this library, and can be caught across shared objects.
namespace brood::inline v1 {

Error::~Error() = default;
UsageError::~UsageError() = default;
NotOwner::~NotOwner() = default;
ReleasedTooOften::~ReleasedTooOften() = default;
NotStarted::~NotStarted() = default;
InvalidState::~InvalidState() = default;
OsError::~OsError() = default;
NoSpace::~NoSpace() = default;
PermissionDenied::~PermissionDenied() = default;
AddressInUse::~AddressInUse() = default;
ConnectionRefused::~ConnectionRefused() = default;
RuntimeError::~RuntimeError() = default;
HandleError::~HandleError() = default;
TypeMismatch::~TypeMismatch() = default;
DecodeError::~DecodeError() = default;
AlreadyExists::~AlreadyExists() = default;
OwnerDied::~OwnerDied() = default;
ContainerDamaged::~ContainerDamaged() = default;
BrokenBarrier::~BrokenBarrier() = default;
QueueClosed::~QueueClosed() = default;
ConnectionClosed::~ConnectionClosed() = default;
ListenerClosed::~ListenerClosed() = default;
TimeoutError::~TimeoutError() = default;
TaskTimeout::~TaskTimeout() = default;
HandshakeTimeout::~HandshakeTimeout() = default;
AuthenticationError::~AuthenticationError() = default;
EndOfFile::~EndOfFile() = default;
ConnectionReset::~ConnectionReset() = default;
WrongDirection::~WrongDirection() = default;
BufferTooShort::~BufferTooShort() = default;
MessageTooLong::~MessageTooLong() = default;
Empty::~Empty() = default;
Full::~Full() = default;
StartError::~StartError() = default;
CancelledError::~CancelledError() = default;
PoolTerminated::~PoolTerminated() = default;
PoolBroken::~PoolBroken() = default;
PeerGone::~PeerGone() = default;
WorkerDied::~WorkerDied() = default;
ManagerDied::~ManagerDied() = default;
BrokenPipe::~BrokenPipe() = default;
BrokenMessage::~BrokenMessage() = default;

}  // namespace brood::inline v1
