"""The Latentcast worker: one process per device. It loads SDXL, runs the step engine and speaks ZeroMQ to the orchestrator."""

__version__ = "0.1.0"
