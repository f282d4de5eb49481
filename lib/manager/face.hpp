// What clients ask the server itself for: object number 0.
#pragma once

#include <string_view>

#include "manager/served.hpp"

namespace brood::inline v1::manager {

class Server;

/// Errors: UsageError (no such method, no such type); what making an object throws.
void run_face(Server& server, std::string_view method, Call& call);

}  // namespace brood::inline v1::manager
