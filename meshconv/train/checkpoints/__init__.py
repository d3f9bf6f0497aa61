"""Checkpoints: reading, checking against data, resuming, fine-tuning, networks that ship."""
