"""The exit statuses of the commands that serve or look at an app, and the error that carries one.

What a shell, a supervisor or a container may act on; each has one meaning, and the documentation
says it too. `triows connect` has statuses of its own, about the connection, `triows publish`
has one, about the broker, and `triows new` one, about the disk.
"""

FAILED = 1
"""The user's own code failed while it was imported."""

MISUSED = 2
"""The command line asks for what there is not; argparse's too."""

CANNOT_LISTEN = 3
"""An address is in use, or cannot be bound for another reason."""

APP_FAILED = 4
"""The app's lifespan or a task of the app failed; the traceback is in the log."""

NOT_KEPT_UP = 5
"""A worker could not be kept up, or did not end when it was asked to."""

SIGNALLED = 128
"""Plus the number of a signal: it cut short what an earlier one had begun (a shell's custom)."""


class CommandError(Exception):
    """A command cannot go on; the message is the one line that the user reads.

    Attributes:
        status: What the program exits with.
    """

    def __init__(self, message: str, status: int = MISUSED) -> None:
        super().__init__(message)
        self.status = status
