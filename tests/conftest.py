"""How tests are named."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: clients mask their frames at random.

    Processes that share the tests would not agree on what those are.
    """
    return argname if isinstance(val, bytes) and not val.isascii() else None
