"""Models that the engine can drive: the port they fill in, and SDXL behind it."""
