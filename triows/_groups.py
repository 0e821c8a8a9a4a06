"""What nurseries raise, taken apart."""


def split_failures(exc: BaseException) -> tuple[list[Exception], BaseException | None]:
    """Return the leaves of what a nursery raised, and what must go on up: cancellation and exits.

    Leaves are in the order in which they occurred.
    """
    if isinstance(exc, BaseExceptionGroup):
        failed, rest = exc.split(Exception)
        return _leaves(failed), rest
    if isinstance(exc, Exception):
        return [exc], None
    return [], exc


def _leaves(group: BaseExceptionGroup[Exception] | None) -> list[Exception]:
    leaves: list[Exception] = []
    for exc in () if group is None else group.exceptions:
        leaves += _leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return leaves
