"""Fan-out to more and more clients: does a delivery still cost the same to 10,000 of them?

python -m benchmarks.fanout_scaling --rounds 3 --seconds 2 --record
"""

from dataclasses import replace

from benchmarks.contenders import SOCKET_IO, TRIOWS, TRIOWS_HYPERCORN, UVICORN, WEBSOCKETS
from benchmarks.fanout import FANOUT
from benchmarks.growth import main
from benchmarks.load import Load

FANOUT_SCALING = replace(
    FANOUT,
    name="fanout_scaling",
    title="Fan-out to more and more clients",
    contenders=(TRIOWS, TRIOWS_HYPERCORN, WEBSOCKETS, UVICORN, SOCKET_IO),
    limits={},
    load=Load(seconds=2.0),
)

if __name__ == "__main__":
    main(FANOUT_SCALING)
