// The process above each test program: private domain, watchdog, and what is left at the end.
#pragma once

namespace support {

/// True in the program that shall supervise: nobody above us does it yet.
[[nodiscard]] bool needs_supervisor();

/// Runs this program again as the test process and watches it; returns the exit code for main.
///
/// - Gives it a private domain directory (BROOD_DOMAIN, unless that is set already) and, in BROOD_TEST_PROGRAMS, the
///   directory of the programs that the tests start.
/// - When one test lasts longer than BROOD_TEST_TIMEOUT seconds (300), prints the stacks of all threads of the test
/// process
///   and of its descendants (by gdb where there is one), aborts it, and fails.
/// - After the end, fails if a descendant still lives BROOD_TEST_GRACE seconds (5) later (a forkserver may need a
/// moment
///   to notice that everybody has gone), or if the domain directory is not empty.
///
/// It is a process of its own since only an outsider can see that the last user of the domain left nothing; it stays
/// out of the library altogether. To debug a test without it, set BROOD_TEST_SUPERVISED=1 and BROOD_DOMAIN.
int supervise(char** argv);

/// In the test process: tell the supervisor which test runs. Call after InitGoogleTest.
void report_progress_to_supervisor();

}  // namespace support
