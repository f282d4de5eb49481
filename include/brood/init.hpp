// The door through which children enter this program.                                          (room: process)
//
//   int main(int argc, char** argv) {
//     brood::init(argc, argv);        // first: in a child made by spawn or forkserver this does not return
//     …
//   }
//
// Programs that link brood-main need no line: it calls init() before main.
#pragma once

namespace brood::inline v1 {

/// Runs the target instead of the rest of main() if this process is a child made by Process (start methods spawn and
/// forkserver); otherwise notes that children can enter here, and returns.
///
/// Call it first in main: what stands before it also runs in every child. Objects with static storage are built before,
/// in the child too, and destroyed when the target has returned. The arguments are kept for the command line of
/// children; without them it is read from /proc.
///
/// A child that was not started by its parent through Process (a forged or inherited environment) is ended here with
/// code 255 and a line on standard error, and never runs main().
///
/// Children of the start method light enter by another door, that of their library, and need nothing of this; in them it does
/// nothing.
///
/// Threads: call from the main thread, before others start.
void init(int argc, char** argv);
void init();

}  // namespace brood::inline v1
