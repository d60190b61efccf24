"""A very small SDXL with random weights: the real architecture in a few megabytes, whose images are noise."""
