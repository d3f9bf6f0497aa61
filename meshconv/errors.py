"""The error that a user's input can cause, and its words."""


class InputError(ValueError):
    """Bad input: one line that names the file, the value and the way out."""


def first_line(error: BaseException) -> str:
    """What another program's error says, cut to one short line for a message of ours; its kind if it says nothing."""
    if isinstance(error, KeyError):
        return f"{error} is missing or unknown"
    return next((line.strip()[:160] for line in str(error).splitlines() if line.strip()), type(error).__name__)
