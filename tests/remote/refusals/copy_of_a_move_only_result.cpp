// refused: the result cannot be copied; take it by std::move(future).get()
#include <memory>
#include "brood/future.hpp"
void test(const brood::Future<std::unique_ptr<int>>& future) { (void)future.get(); }
