#include "manager/blob.hpp"

#include <atomic>
#include <cstring>
#include <utility>

#include "manager/objects.hpp"
#include "manager/reference.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::manager {

Pins::Pins(std::uint64_t container, std::vector<Handle> handles) : container_(container), handles_(std::move(handles)) {
  static constinit std::atomic<std::uint64_t> last = 0;
  message_ = ++last;
  for (std::size_t i = 0; i < handles_.size(); ++i) {
    try {
      shm::pin(container_, message_, handles_[i]);
    } catch (...) {
      while (i-- > 0) shm::unpin(container_, message_, handles_[i]);
      throw;
    }
  }
}
Pins::~Pins() {
  for (const Handle& handle : handles_) shm::unpin(container_, message_, handle);
}

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
      entries.push_back(objects.find(reference.object));
    }
  });
  Blob blob{std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), nullptr};
  if (!handles.empty() || !entries.empty()) {
    auto luggage = std::make_shared<Luggage>();
    if (!handles.empty()) luggage->pins = std::make_unique<Pins>(objects.container(), std::move(handles));
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
