"""Errors that cross modules and need no heavy import."""


class MediaError(ValueError):
    """A media file that cannot be used; the message says why."""
