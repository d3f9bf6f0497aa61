"""Data modules: files to batches."""
