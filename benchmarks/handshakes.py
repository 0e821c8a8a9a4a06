"""Handshakes: connect, open a WebSocket, close it, see the connection end, and again.

python -m benchmarks.handshakes --rounds 5 --clients 16 --record

Without Emmett: behind granian 2.8 its connections do not end, not even when their clients have.
"""

from benchmarks.comparison import Comparison, main
from benchmarks.contenders import EMMETT, SERVERS, TRIOWS, UVICORN
from benchmarks.load import Load

HANDSHAKES = Comparison(
    name="handshakes",
    title="Handshakes",
    kind="handshakes",
    what=("handshake", "handshakes"),
    ours=TRIOWS,
    contenders=tuple(each for each in SERVERS if each is not EMMETT),
    limits={UVICORN.name: {"bound": 0.5, "goal": 0.3}},
    load=Load(clients=16),
)

if __name__ == "__main__":
    main(HANDSHAKES)
