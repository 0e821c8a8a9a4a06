"""Echo with more and more clients: does a message still cost the same with 10,000 of them?

python -m benchmarks.scaling --rounds 3 --seconds 2 --record
"""

from dataclasses import replace

from benchmarks.echo import ECHO
from benchmarks.growth import main
from benchmarks.load import Load

SCALING = replace(
    ECHO,
    name="scaling",
    title="Echo with more and more clients",
    load=Load(seconds=2.0),
)

if __name__ == "__main__":
    main(SCALING)
