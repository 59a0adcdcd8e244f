"""Tokens, their file, records of videos, bit packing."""
