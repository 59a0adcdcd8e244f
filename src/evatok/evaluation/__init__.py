"""Measures of a reconstruction, each under a protocol that is printed with its numbers."""
