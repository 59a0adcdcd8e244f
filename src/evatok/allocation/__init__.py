"""Proxy reward and the rules that pick an assignment from a table of qualities (paper, section 3)."""
