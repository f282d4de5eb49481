// What 15_other_module.cpp uses of its library.
#pragma once

#include <string>

void library_work(const std::string& text, int number);
