"""LoRAs: files by name, their layers matched to the model's, and low-rank additions to the rows of a call."""
