// The shared library of 15_other_module.cpp.
#include <iostream>
#include <string>

void library_work(const std::string& text, int number);

void library_work(const std::string& text, int number) { std::cout << text << number << std::endl; }
