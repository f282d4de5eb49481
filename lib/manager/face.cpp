#include "manager/face.hpp"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "brood/detail/call_line.hpp"
#include "brood/error.hpp"
#include "manager/reference.hpp"
#include "manager/served_class.hpp"
#include "manager/server.hpp"
#include "manager/session.hpp"

namespace brood::inline v1::manager {
namespace {

/// `word` and `arguments`: for the journal, if the object can be kept there.
void hand_out(Call& call, std::string type, std::unique_ptr<Served> served, std::string word = {},
              std::span<const std::byte> arguments = {}) {
  const auto entry = call.objects.add(std::move(type), std::move(served), std::move(word), arguments);
  call.session->refer(entry, call.out);
}

/// [word, type, [arguments]]
void make(Server& /*server*/, Call& call) {
  call.arguments(3, "make");
  const std::string word(call.in.str());
  std::string type(call.in.str());
  Decoder ahead = call.in;
  const std::span<const std::byte> arguments = ahead.value([](const detail::Ext&) {});
  std::unique_ptr<Served> served = make_builtin(word, call);
  if (!served) throw UsageError("a manager knows no type '" + word + "'");
  hand_out(call, std::move(type), std::move(served), word, arguments);
}

/// [type, constructor, may several threads be in it?]
void host(Server& /*server*/, Call& call) {
  call.arguments(3, "host");
  std::string type(call.in.str());
  const std::span<const std::byte> constructor = call.in.bin();
  const bool is_concurrent = call.in.boolean();
  hand_out(call, std::move(type), serve_hosted(detail::unpack_hosted(constructor), nullptr, is_concurrent));
}

/// [name of a class that this program has registered, [arguments]]
void make_named(Server& /*server*/, Call& call) {
  call.arguments(2, "make_named");
  const std::string name(call.in.str());
  const std::shared_ptr<const detail::ServedClassBase> known = find_served_class(name);
  if (!known) {
    throw UsageError("the manager's program has registered no class '" + name + "'; it has: " + served_class_names() +
                     " (brood::ServeClass, as a static object of that program)");
  }
  std::unique_ptr<detail::Hosted> hosted = known->make(call.in);
  const std::optional<Encoder> state = state_of(*known, hosted->object());
  hand_out(call, "named:" + name, serve_hosted(std::move(hosted), known, known->is_concurrent),
           state ? std::string(kClassPrefix) + name : std::string(),
           state ? state->bytes() : std::span<const std::byte>());
}

void publish(Server& /*server*/, Call& call) {
  call.arguments(2, "publish");
  const std::string name(call.in.str());
  call.objects.publish(name, call.objects.find(call.in.uint()));
  call.out.nil();
}
void unpublish(Server& /*server*/, Call& call) {
  call.arguments(1, "unpublish");
  call.out.boolean(call.objects.unpublish(std::string(call.in.str())));
}
/// [name, type or nil]
void find(Server& /*server*/, Call& call) {
  call.arguments(2, "find");
  const std::string name(call.in.str());
  const std::shared_ptr<Entry> entry = call.objects.published(name);
  if (!entry) {
    call.in.skip();
    call.out.nil();
    return;
  }
  if (!call.in.try_nil()) {
    if (const std::string_view type = call.in.str(); type != entry->type)
      throw TypeMismatch("the manager's object '" + name + "' is a " + entry->type + ", and not a " +
                         std::string(type));
  }
  call.session->refer(entry, call.out);
}
void names(Server& /*server*/, Call& call) {
  call.arguments(0, "names");
  const std::vector<std::string> all = call.objects.published_names();
  call.out.array_header(all.size());
  for (const std::string& it : all) call.out.str(it);
}

/// A client that has no part in the domain has got a reference in a message. [object]
void retain(Server& /*server*/, Call& call) {
  call.arguments(1, "retain");
  call.session->client()->retain(call.objects.find(call.in.uint()));
  call.out.nil();
}
void release(Server& /*server*/, Call& call) {
  call.arguments(1, "release");
  call.session->client()->release(call.in.uint());
  call.out.nil();
}

void count(Server& /*server*/, Call& call) {
  call.arguments(0, "count");
  call.out.uint(call.objects.all().size());
}
/// [[number, type]…]
void list(Server& /*server*/, Call& call) {
  call.arguments(0, "list");
  const auto all = call.objects.all();
  call.out.array_header(all.size());
  for (const auto& it : all) {
    call.out.array_header(2);
    call.out.uint(it->id);
    call.out.str(it->type);
  }
}
void clients(Server& server, Call& call) {
  call.arguments(0, "clients");
  call.out.uint(server.clients());
}
void stop(Server& server, Call& call) {
  call.arguments(0, "stop");
  call.out.nil();
  server.stop();
}
void hello(Server& /*server*/, Call& call) {
  call.arguments(0, "hello");
  call.out.nil();
}

struct FaceMethod {
  std::string_view name;
  void (*run)(Server& server, Call& call);
};
constexpr std::array kMethods = {
    FaceMethod{"make", &make},   FaceMethod{"host", &host},       FaceMethod{"make_named", &make_named},
    FaceMethod{"find", &find},   FaceMethod{"publish", &publish}, FaceMethod{"unpublish", &unpublish},
    FaceMethod{"names", &names}, FaceMethod{"retain", &retain},   FaceMethod{"release", &release},
    FaceMethod{"count", &count}, FaceMethod{"list", &list},       FaceMethod{"clients", &clients},
    FaceMethod{"hello", &hello}, FaceMethod{"stop", &stop},
};

}  // namespace

void run_face(Server& server, std::string_view method, Call& call) {
  for (const FaceMethod& it : kMethods) {
    if (it.name == method) return it.run(server, call);
  }
  std::string known;
  for (const FaceMethod& it : kMethods) known += (known.empty() ? "" : " ") + std::string(it.name);
  throw_no_method("Manager", method, known);
}

}  // namespace brood::inline v1::manager
