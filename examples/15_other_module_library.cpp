#include "15_other_module_library.hpp"

#include <iostream>

void library_work(const std::string& text, int number) { std::cout << text << number << std::endl; }
