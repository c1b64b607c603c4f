// Nothing: a precompiled header belongs to a source.
