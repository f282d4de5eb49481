// All there is of a program whose main() is in a library, with everything that runs in light processes.
int library_main(int argc, char** argv);
int main(int argc, char** argv) { return library_main(argc, argv); }
