"""References of the compiled operators, in plain torch, numpy and Python."""
