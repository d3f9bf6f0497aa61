"""Prepared surfaces on disk."""
