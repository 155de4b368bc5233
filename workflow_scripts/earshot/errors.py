"""Errors that cross modules and need no heavy import."""


class MediaError(ValueError):
    """A media file that cannot be used; the message says why."""


class SetupError(ValueError):
    """Something that every clip of a job needs is missing or broken; the message says what, and the way out."""
