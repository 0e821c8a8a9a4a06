"""The command `triows`: the only part of triows that prints or exits."""

from triows.cli._main import main

__all__ = ["main"]
