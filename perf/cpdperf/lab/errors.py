"""The error that a user of the lab can do something about."""


class LabError(Exception):
    """What is wrong, with the value and what is allowed; nothing was lost."""
