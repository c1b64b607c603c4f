#pragma once

/// @file The whole library but for MPI, whose header is cpdcomm/mpi.hpp.

#include "cpdcomm/codec.hpp"
#include "cpdcomm/communicator.hpp"
#include "cpdcomm/error.hpp"
#include "cpdcomm/format.hpp"
#include "cpdcomm/geometry.hpp"
#include "cpdcomm/options.hpp"
#include "cpdcomm/threads.hpp"
#include "cpdcomm/version.hpp"
#include "cpdcomm/world.hpp"
