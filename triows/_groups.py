"""What nurseries raise, taken apart."""


def leaves_of(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    """Return the exceptions of a group and of the groups in it, in the order they occurred."""
    leaves: list[Exception] = []
    for exc in group.exceptions:
        leaves += leaves_of(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return leaves
