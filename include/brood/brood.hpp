// Everything brood offers.                                                                     (room: process)
#pragma once

#include "brood/barrier.hpp"
#include "brood/condition.hpp"
#include "brood/deadline.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/handle.hpp"
#include "brood/init.hpp"
#include "brood/lock.hpp"
#include "brood/process.hpp"
#include "brood/queue.hpp"
#include "brood/rlock.hpp"
#include "brood/semaphore.hpp"
#include "brood/serialize.hpp"
#include "brood/value.hpp"
#include "brood/version.hpp"
