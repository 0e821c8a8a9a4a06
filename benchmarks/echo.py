"""Echo on servers of their own: triows next to what Python has for WebSockets.

python -m benchmarks.echo --rounds 5 --clients 64 --size 32 --record
"""

from benchmarks.comparison import Comparison, main
from benchmarks.contenders import SERVERS, TRIOWS, UVICORN, WEBSOCKETS

ECHO = Comparison(
    name="echo",
    title="Echo",
    kind="echo",
    what=("message", "messages"),
    ours=TRIOWS,
    contenders=SERVERS,
    limits={
        UVICORN.name: {"bound": 1.0, "goal": 0.8},
        WEBSOCKETS.name: {"bound": 0.4},
    },
)

if __name__ == "__main__":
    main(ECHO)
