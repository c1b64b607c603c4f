#pragma once

/// Marks what a shared libcpdcomm shows; everything else is hidden.
#define CPDCOMM_API __attribute__((visibility("default")))
