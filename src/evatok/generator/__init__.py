"""Generators of tokens: the language of their sequences, their models, sampling."""
