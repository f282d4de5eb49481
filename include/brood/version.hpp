// The library's version, for #if and for messages.                                                (room: base)
#pragma once

#define BROOD_VERSION_MAJOR 0
#define BROOD_VERSION_MINOR 1
#define BROOD_VERSION_PATCH 0
#define BROOD_VERSION_STRING "0.1.0"
