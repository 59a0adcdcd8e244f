"""Every clip's quality under every assignment, exactly and at a third of the cost (paper, section 3)."""
