#include "manager/blob.hpp"

#include <atomic>
#include <cstring>
#include <utility>

#include "brood/error.hpp"
#include "manager/objects.hpp"
#include "manager/reference.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::manager {

Pins::Pins(std::uint64_t container, std::vector<Handle> handles, bool if_there) : container_(container) {
  static constinit std::atomic<std::uint64_t> last = 0;
  message_ = ++last;
  handles_.reserve(handles.size());
  for (Handle& handle : handles) {
    try {
      shm::pin(container_, message_, handle);
      handles_.push_back(std::move(handle));
    } catch (const HandleError&) {
      if (if_there) continue;
      unpin();
      throw;
    } catch (...) {
      unpin();
      throw;
    }
  }
}
void Pins::unpin() noexcept {
  for (const Handle& handle : handles_) shm::unpin(container_, message_, handle);
}
Pins::~Pins() { unpin(); }

void Blob::encode(Encoder& out) const {
  const auto handles = luggage && luggage->pins ? luggage->pins->handles() : std::span<const Handle>();
  out.value(std::as_bytes(std::span(bytes)), handles);
}

Blob take_blob(Objects& objects, Decoder& in) {
  std::vector<Handle> handles;
  std::vector<std::shared_ptr<Entry>> entries;
  const std::span<const std::byte> bytes = in.value([&](const detail::Ext& ext) {
    const std::string_view text(reinterpret_cast<const char*>(ext.bytes.data()), ext.bytes.size());
    if (ext.type == detail::kExtHandle) {
      handles.emplace_back(text);
    } else if (ext.type == detail::kExtManaged) {
      const Reference reference = Reference::read(ext.bytes);
      if (reference.server != objects.server()) return;  // another server's: its own token keeps it
      // Of the past: what it named then may have gone since.
      auto entry = objects.is_restoring() ? objects.look_for(reference.object) : objects.find(reference.object);
      if (entry) entries.push_back(std::move(entry));
    }
  });
  Blob blob{std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), nullptr};
  if (!handles.empty() || !entries.empty()) {
    auto luggage = std::make_shared<Luggage>();
    if (!handles.empty())
      luggage->pins = std::make_unique<Pins>(objects.container(), std::move(handles), objects.is_restoring());
    luggage->entries = std::move(entries);
    blob.luggage = std::move(luggage);
  }
  return blob;
}

Blob take_blob(Objects& objects, const Encoder& value) {
  Decoder in(value.bytes());
  return take_blob(objects, in);
}

}  // namespace brood::inline v1::manager
