"""Attention over blocks, transformer layers, patches and positions."""
