"""What nurseries raise, taken apart."""


def leaves_of(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    """Return the exceptions of a group and of the groups in it, in the order they occurred."""
    leaves: list[Exception] = []
    for exc in group.exceptions:
        leaves += leaves_of(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return leaves


def split_failures(exc: BaseException) -> tuple[list[Exception], BaseException | None]:
    """Return the leaves of what a nursery raised, and what must go on up: cancellation and exits.

    Leaves are in the order in which they occurred.
    """
    if isinstance(exc, BaseExceptionGroup):
        failed, rest = exc.split(Exception)
        return ([] if failed is None else leaves_of(failed)), rest
    if isinstance(exc, Exception):
        return [exc], None
    return [], exc
