"""The error that a user's input can cause."""


class InputError(ValueError):
    """Bad input: one line that names the file, the value and the way out."""
