// Challenges: how each end shows the other that it has the key, without showing the key.
#pragma once

#include <string>
#include <string_view>

#include "brood/listener.hpp"

namespace brood::inline v1::net {

/// Who asked. It is part of what is answered, so the answer to one end's challenge is of no use as the other's.
enum class Asked : char { by_listener = 'L', by_client = 'C' };

/// `{sha256}` and 40 random bytes.
[[nodiscard]] std::string make_challenge(Digest digest);

/// The HMAC that answers a challenge under this key. `binding`: see Stream::binding().
/// Errors: AuthenticationError if the challenge names no digest that is allowed here, or has too few random bytes.
[[nodiscard]] std::string answer_to(std::string_view challenge, std::string_view key, Asked asked,
                                    std::string_view binding);

/// Is it the right one? Takes the same time for all wrong ones of one length.
[[nodiscard]] bool is_answer(std::string_view answer, std::string_view challenge, std::string_view key, Asked asked,
                             std::string_view binding);

}  // namespace brood::inline v1::net
