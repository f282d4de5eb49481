// What a victim does before its operation, so that first-use code does not blow up the number of instructions.
#pragma once

namespace fault {

/// Joins the domain, takes the thread's sleep record, and teaches the spinning waits that it never pays to spin: a spin
/// of a thousand rounds would be a thousand kill points of the same kind.
void settle_in();

}  // namespace fault
