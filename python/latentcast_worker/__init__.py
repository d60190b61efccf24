"""The Latentcast worker: one process per device that loads SDXL, runs the step engine and speaks ZeroMQ."""

__version__ = "0.1.0"
