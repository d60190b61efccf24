"""Whole models in one `.safetensors` file, in the layout of the original SDXL code."""
