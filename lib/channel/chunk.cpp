#include "brood/detail/chunk.hpp"

#include "channel/chunk_store.hpp"

namespace brood::inline v1::detail {

Chunk::Chunk(std::shared_ptr<channel::ChunkAccess> of, Index index) noexcept
    : of_(std::move(of)), data_((**of_).data(index)), capacity_((**of_).capacity_bytes(index)), index_(index) {}

void Chunk::give_back_now() noexcept {
  (**of_).give_back(index_);
  forget();
}

}  // namespace brood::inline v1::detail
