#include "brood/context.hpp"

#include <string>

#include "brood/error.hpp"
#include "process/current.hpp"

namespace brood::inline v1 {

Context::Context(StartMethod method) : method_(method) {
  if (method > process::kLastStartMethod)
    throw UsageError("Context: " + std::to_string(static_cast<unsigned>(method)) + " is no start method");
}

ProcessOptions Context::options(ProcessOptions given) const {
  if (given.start_method.value_or(method_) != method_) {
    throw UsageError("a Context of the start method " + std::string(to_string(method_)) + " was given options for " +
                     std::string(to_string(*given.start_method)) + "; leave start_method out");
  }
  given.start_method = method_;
  return given;
}

Context get_context() { return Context(get_start_method()); }
Context get_context(StartMethod method) { return Context(method); }

}  // namespace brood::inline v1
